import Foundation
import Goldens
import Interchange
import Storage
import TestSupport
import Testing
import Training

/// Published models in and out: every tensor of an export is that of the checkpoint, and what cannot
/// be a model is refused by name and leaves nothing.
@Suite struct PublishedExchangeTests {
  private let directory: TemporaryDirectory
  private var run: RunDirectory { RunDirectory(directory.path + "/run") }
  private let options: ModelImport.Options

  init() throws {
    directory = try TemporaryDirectory()
    var options = ModelImport.Options()
    options.profiles = DriveProfiles(path: directory.path + "/drives.json")
    self.options = options
  }

  @Test(arguments: [
    "switch-tiny", "switch-tiny-bin", "nllb-moe-tiny", "mixtral-tiny-sharded", "olmoe-tiny",
    "qwen3-moe-tiny", "mixtral-tiny-bf16", "nllb-untied", "switch-untied", "olmoe-clip",
    "qwen3-bias",
  ])
  func anExportHasTheBitsOfTheCheckpoint(_ name: String) throws {
    let source = Golden.folder(name)
    let report = try ModelImport(source, into: run, options).make()
    #expect(report.writtenBlocks == report.blocks)
    let target = try export(.f32)
    let (mine, theirs) = (try CheckpointFolder(target), try CheckpointFolder(source))
    for tensor in mine.tensors {
      #expect(tensor.type == .f32)
      #expect(try bits(mine, tensor.name) == bits(theirs, tensor.name), "\(tensor.name)")
    }
    // What a .bin has besides are other names of the same bytes.
    for name in theirs.names.subtracting(mine.names) {
      #expect(mine.names.contains { theirs.areTied($0, name) }, "\(name)")
    }
    #expect(mine.names.isSubset(of: theirs.names))
    let again = RunDirectory(directory.path + "/again")
    _ = try ModelImport(target, into: again, options).make()
  }

  @Test func anExportInBfloat16IsRoundedToEven() throws {
    let source = Golden.folder("nllb-moe-tiny")
    _ = try ModelImport(source, into: run, options).make()
    let target = try export(.bf16)
    let (mine, theirs) = (try CheckpointFolder(target), try CheckpointFolder(source))
    for tensor in mine.tensors {
      #expect(tensor.type == .bf16)
      let rounded = try bits(theirs, tensor.name).map { bits in
        // The half that is cut off, compared with one half; at a tie the last bit kept decides.
        let (kept, cut) = (bits >> 16, bits & 0xFFFF)
        let up = cut > 0x8000 || cut == 0x8000 && kept & 1 == 1
        return (up ? kept + 1 : kept) << 16
      }
      #expect(try bits(mine, tensor.name) == rounded, "\(tensor.name)")
    }
    #expect(try ModelConfiguration(target + "/config.json").weightType == .bf16)
  }

  /// A model that was saved without its head.
  @Test func namesMayLackThePrefix() throws {
    let source = try copy("nllb-moe-tiny")
    try rewrite(source) { text in text.replacing("\"model.", with: "\"") }
    let report = try ModelImport(source, into: run, options).make()
    #expect(report.writtenBlocks == 32)
    let target = try export(.f32)
    let (mine, theirs) = (
      try CheckpointFolder(target), try CheckpointFolder(Golden.folder("nllb-moe-tiny"))
    )
    #expect(mine.names == theirs.names)
    #expect(
      try bits(mine, "model.shared.weight") == bits(theirs, "model.shared.weight"))
  }

  @Test func aMissingTensorIsNamed() throws {
    let source = try copy("switch-tiny")
    try rewrite(source) {
      $0.replacing("encoder.final_layer_norm", with: "encoder.final_layer_nrom")
    }
    try expectRefusal(source, "`encoder.final_layer_norm.weight` is missing")
  }

  @Test func aTensorOfNobodyIsNamed() throws {
    let source = try copy("mixtral-tiny")
    try rewrite(source) { text in
      text.replacing(
        "{\"__metadata__\"",
        with: "{\"extra\":{\"dtype\":\"F32\",\"shape\":[0],"
          + "\"data_offsets\":[0,0]},\"__metadata__\"")
    }
    try expectRefusal(source, "`extra` is none of the model")
  }

  @Test func aConfigurationThatContradictsTheTensorsIsRefused() throws {
    let source = try copy("switch-tiny")
    let path = source + "/config.json"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    try text.replacing("\"d_ff\": 48", with: "\"d_ff\": 40")
      .write(toFile: path, atomically: true, encoding: .utf8)
    try expectRefusal(source, "`d_ff` is 40, the tensors say 48")
  }

  @Test func anInterruptedImportLeavesNothingAndBeginsAnew() throws {
    let source = Golden.folder("olmoe-tiny")
    var asked = 0
    #expect(throws: ExchangeError.stopped) {
      _ = try ModelImport(source, into: run, options).make(isStopping: {
        asked += 1
        return asked == 20
      })
    }
    #expect(!FileManager.default.fileExists(atPath: run.path))
    #expect(try ModelImport(source, into: run, options).make().writtenBlocks == 32)
  }

  @Test func aConfigurationOfAnotherFamilyIsRefused() throws {
    var options = options
    options.config = try RunConfig.parse("model: {family: mixtral}", name: "test")
    let error = #expect(throws: ConfigError.self) {
      _ = try ModelImport(Golden.folder("olmoe-tiny"), into: run, options)
    }
    #expect(error?.key == "model.family")
  }

  // MARK: Files

  private func export(_ type: ElementType) throws -> String {
    var options = ModelExport.Options()
    options.type = type
    let config = try #require(try run.savedConfig())
    var export = try ModelExport(run, config, options)
    let target = directory.path + "/exported"
    _ = try export.write(to: target)
    return target
  }

  private func bits(_ folder: CheckpointFolder, _ name: String) throws -> [UInt32] {
    let shape = try #require(folder.tensor(name)).shape
    var floats = [Float](repeating: 0, count: shape.reduce(1, *))
    var span = floats.mutableSpan
    try folder.read(name, rows: 0..<shape.dropLast().reduce(1, *), into: &span)
    return floats.map(\.bitPattern)
  }

  private func copy(_ name: String) throws -> String {
    let target = directory.path + "/source"
    try FileManager.default.copyItem(atPath: Golden.folder(name), toPath: target)
    return target
  }

  /// Changes the header of the only file of weights.
  private func rewrite(_ folder: String, _ change: (String) -> String) throws {
    let url = URL(fileURLWithPath: folder + "/model.safetensors")
    let bytes = try Data(contentsOf: url)
    let length = bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    let header = change(String(decoding: bytes[8..<8 + length], as: UTF8.self))
    let count = Data((0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) })
    try (count + Data(header.utf8) + bytes[(8 + length)...]).write(to: url)
  }

  private func expectRefusal(_ source: String, _ words: String) throws {
    let error = #expect(throws: ExchangeError.self) {
      _ = try ModelImport(source, into: run, options).make()
    }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    #expect(!FileManager.default.fileExists(atPath: run.path))
  }
}
