import Foundation
import Interchange
import Models
import Testing

/// What a family may say in its configuration and is not computed.
@Suite struct FamilyRefusalTests {
  @Test(arguments: ["switch_transformers", "nllb-moe"], ["bfloat16", "float16"])
  func gatesInFewerBitsAreRefused(_ family: String, _ type: String) throws {
    let path = FileManager.default.temporaryDirectory
      .appendingPathComponent("configuration-\(UUID().uuidString).json").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let text = #"{"model_type": "\#(family)", "router_dtype": "\#(type)"}"#
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    let configuration = try ModelConfiguration(path)
    let error = #expect(throws: InterchangeError.self) {
      _ = try ModelDescription(configuration, path: path)
    }
    #expect("\(try #require(error))".contains("`router_dtype` is \(type); known is float32"))
  }
}
