import Foundation
import Goldens
import TestSupport
import Testing

/// Published models at the command line: in, trained, spoken to, out again; and folders that are not
/// what they say, of which nothing stays.
@Suite struct PublishedModelTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func path(_ name: String) -> String { directory.path + "/" + name }

  private func imports(_ folder: String, _ more: String...) throws -> Ending {
    try Pagoda.run(["import", folder, path("run"), "--memory", "256MiB"] + more)
  }

  @Test func aModelGoesInAndComesOut() throws {
    let folder = Golden.folder("qwen3-moe-tiny")
    try imports(folder).expect(0)
    try Pagoda.run(["store", "verify", path("run/store")]).expect(0)
    let target = path("exported")
    try Pagoda.run(["export", path("run"), target, "--dtype", "bfloat16"]).expect(0)
    let config = try String(contentsOfFile: target + "/config.json", encoding: .utf8)
    #expect(config.contains(#""dtype": "bfloat16""#))
    try Pagoda.run(["import", target, path("again"), "--memory", "256MiB"]).expect(0)
    // A run that exists is not imported over.
    try imports(folder).expect(73, "run exists")
    // Nothing to train on, and no tokenizer to speak with.
    try Pagoda.run(["train", path("run/config.yaml"), "--run", path("run")])
      .expect(78, "no corpus is named", "data.corpus=FILE")
    try Pagoda.run(["generate", path("run")], input: "x\n").expect(66, "tokenizer.json")
    try Pagoda.run(["train", path("run/config.yaml"), "--run", path("run"), "--fresh"])
      .expect(78)
    #expect(FileManager.default.fileExists(atPath: path("run/store/pages.bin")))
  }

  @Test func settingsAreToldAtTheImport() throws {
    let folder = Golden.folder("olmoe-tiny")
    try imports(folder, "training.learning_rat=1").expect(78, "learning_rate")
    try imports(folder, "model.d_model=64").expect(78, "zcode", "config.json")
    try imports(folder, "model.family=mixtral").expect(78, "model.family", "olmoe")
    try imports(folder, "--memory", "1MiB").expect(71, "give --memory")
    #expect(!FileManager.default.fileExists(atPath: path("run")))
    try imports(folder, "training.learning_rate=1e-4", "model.weights=fp32").expect(0)
    let config = try String(contentsOfFile: path("run/config.yaml"), encoding: .utf8)
    #expect(config.contains("weights: fp32") && !config.contains("d_model"))
  }

  /// A header of safetensors, and what an import must say of it.
  static let headers = [
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}"#, "a negative offset"),
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
      "overlapping tensors"
    ),
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#,
      "one name twice"
    ),
    (#"{"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]}}"#, "2^63 elements"),
    (
      #"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#,
      "a size that overflows"
    ),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775807]}}"#, "2^63 bytes"),
    (#"{"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}}"#, "a type that is none"),
    (#"{"a":"#, "JSON that ends"),
  ]

  @Test(arguments: headers) func hostileSafetensorsAreRefused(
    _ header: String, _ what: String
  ) throws {
    let folder = try folder()
    try write(header, length: header.utf8.count, to: folder)
    try expectRefusal(folder, what)
  }

  @Test func aHeaderLongerThanTheFileIsRefused() throws {
    let folder = try folder()
    try write("{}", length: 1 << 40, to: folder)
    try expectRefusal(folder, "a header longer than the file")
    try write("{}", length: Int.max, to: folder)
    try expectRefusal(folder, "a header of 2^63 bytes")
  }

  @Test func aTensorOfTheWrongTypeIsRefused() throws {
    let folder = path("model")
    try FileManager.default.copyItem(atPath: Golden.folder("mixtral-tiny"), toPath: folder)
    let url = URL(fileURLWithPath: folder + "/model.safetensors")
    let text = try Data(contentsOf: url)
    let (from, to) = (Data(#""dtype":"F32""#.utf8), Data(#""dtype":"I32""#.utf8))
    let place = try #require(text.range(of: from))
    try (text[..<place.lowerBound] + to + text[place.upperBound...]).write(to: url)
    try expectRefusal(folder, "integers for weights")
  }

  /// Too many experts to make room for are found before any is made room for.
  @Test func aConfigurationOfTooMuchIsComparedFirst() throws {
    let folder = path("model")
    try FileManager.default.copyItem(atPath: Golden.folder("mixtral-tiny"), toPath: folder)
    let config = try String(contentsOfFile: folder + "/config.json", encoding: .utf8)
    try config.replacing(#""num_local_experts": 8"#, with: #""num_local_experts": 1048576"#)
      .write(toFile: folder + "/config.json", atomically: true, encoding: .utf8)
    let ending = try Pagoda.run(
      ["import", folder, path("run"), "--memory", "256MiB"],
      under: ["/usr/bin/env", "bash", "-c", "ulimit -v 8000000; exec \"$0\" \"$@\""])
    ending.expect(65, "num_local_experts")
  }

  @Test func aSmallFileMayNotBeALinkOrHuge() throws {
    let folder = path("model")
    try FileManager.default.copyItem(atPath: Golden.folder("mixtral-tiny"), toPath: folder)
    try FileManager.default.createSymbolicLink(
      atPath: folder + "/merges.txt", withDestinationPath: "/etc/hostname")
    try expectRefusal(folder, "a link")
    try FileManager.default.removeItem(atPath: folder + "/merges.txt")
    #expect(FileManager.default.createFile(atPath: folder + "/merges.txt", contents: nil))
    let file = try #require(FileHandle(forWritingAtPath: folder + "/merges.txt"))
    try file.truncate(atOffset: 1 << 32)
    try file.close()
    try expectRefusal(folder, "4 GiB of merges")
  }

  @Test func anIndexThatLeavesTheFolderIsRefused() throws {
    let folder = try folder()
    try "secret".write(toFile: path("secret.safetensors"), atomically: true, encoding: .utf8)
    for name in ["../secret.safetensors", "/etc/passwd", "a/../../secret.safetensors"] {
      try #"{"metadata":{},"weight_map":{"a":"\#(name)"}}"#.write(
        toFile: folder + "/model.safetensors.index.json", atomically: true, encoding: .utf8)
      try expectRefusal(folder, name)
    }
  }

  /// Archives that once were a crash, or ask for code.
  @Test func hostilePicklesAreRefusedAndNothingRuns() throws {
    let inputs = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "FuzzingTests/Inputs/pytorch")
    let names = try FileManager.default.contentsOfDirectory(atPath: inputs.path).sorted()
    #expect(names.count >= 4)
    for name in names {
      let folder = try folder(name)
      try FileManager.default.copyItem(
        atPath: inputs.appending(path: name).path, toPath: folder + "/pytorch_model.bin")
      try expectRefusal(folder, name)
    }
  }

  @Test(arguments: [
    "{", "[]", #"{"model_type": "bert"}"#, #"{"model_type": "mixtral", "num_local_experts": -1}"#,
  ])
  func hostileConfigurationsAreRefused(_ text: String) throws {
    let folder = path("model")
    try FileManager.default.copyItem(atPath: Golden.folder("mixtral-tiny"), toPath: folder)
    try text.write(toFile: folder + "/config.json", atomically: true, encoding: .utf8)
    try expectRefusal(folder, text)
  }

  // MARK: Folders

  /// A folder with the configuration of Mixtral and no weights.
  private func folder(_ name: String = "model") throws -> String {
    let folder = path(name)
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try FileManager.default.copyItem(
      atPath: Golden.folder("mixtral-tiny") + "/config.json", toPath: folder + "/config.json")
    return folder
  }

  private func write(_ header: String, length: Int, to folder: String) throws {
    let count = Data((0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) })
    try (count + Data(header.utf8) + Data(count: 64))
      .write(to: URL(fileURLWithPath: folder + "/model.safetensors"))
  }

  /// Bad data, said in one line, and no run.
  private func expectRefusal(_ folder: String, _ what: String) throws {
    let ending = try imports(folder)
    #expect(ending.exitCode == 65, "\(what): \(ending.errors)")
    #expect(ending.errors.hasPrefix("error: ") && ending.errors.count < 2000, "\(what)")
    #expect(!FileManager.default.fileExists(atPath: path("run")), "\(what)")
  }
}
