import Foundation
import Interchange
import TestSupport
import Testing

private func floats(_ values: [Float]) -> [UInt8] {
  values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) }
  }
}

extension SafetensorsFile {
  fileprivate func bytes(_ name: String, _ range: Range<Int>) throws -> [UInt8] {
    let entry = try #require(header.entries.first { $0.tensor.name == name })
    var bytes = [UInt8](repeating: 0, count: range.count)
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    try read(entry, from: range.lowerBound, into: &raw)
    return bytes
  }
}

/// A directory of tensors of floats, written a few bytes at a time.
private struct Written {
  let directory = try! TemporaryDirectory()
  let tensors: [SafetensorsTensor]
  let layout: SafetensorsShards
  let values: [String: [UInt8]]

  init(_ shapes: [[Int]], shardBytes: Int) throws {
    tensors = shapes.enumerated().map {
      SafetensorsTensor(name: "layer.\($0).weight", type: .f32, shape: $1)
    }
    layout = SafetensorsShards(tensors, stem: "model", shardBytes: shardBytes)
    let writer = try SafetensorsWriter(layout, in: directory.path)
    var values: [String: [UInt8]] = [:]
    for (number, tensor) in tensors.enumerated() {
      let count = tensor.shape.reduce(1, *)
      let bytes = floats((0..<count).map { Float(100 * number + $0) })
      values[tensor.name] = bytes
      // The second half first: pieces may come in any order.
      let middle = bytes.count / 2
      for range in [middle..<bytes.count, 0..<middle] {
        let piece = Array(bytes[range])
        try unsafe writer.write(piece.span.bytes, to: tensor.name, at: range.lowerBound)
      }
    }
    try writer.finish()
    self.values = values
  }

  var names: [String] {
    get throws { try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() }
  }
}

@Suite struct SafetensorsFileTests {
  @Test func whatWasWrittenIsReadBack() throws {
    for (shardBytes, files) in [(1 << 20, 1), (40, 2), (30, 4), (1, 4)] {
      let written = try Written([[2, 3], [4], [1, 7], [2]], shardBytes: shardBytes)
      let folder = try CheckpointFolder(written.directory.path)
      #expect(folder.names == Set(written.tensors.map(\.name)))
      for tensor in written.tensors {
        let bytes = try #require(written.values[tensor.name])
        let found = try #require(folder.tensor(tensor.name))
        #expect(found.shape == tensor.shape && found.type == tensor.type)
        #expect(floats(try folder.bits(tensor.name).map { Float(bitPattern: $0) }) == bytes)
        let file = try SafetensorsFile(try #require(folder.path(of: tensor.name)))
        #expect(try file.bytes(tensor.name, 4..<8) == Array(bytes[4..<8]))
      }
      #expect(written.layout.shards.count == files)
      let onDisk = try written.names.reduce(0) {
        try $0 + Data(contentsOf: URL(fileURLWithPath: "\(written.directory.path)/\($1)")).count
      }
      #expect(onDisk == written.layout.byteCount)
    }
  }

  @Test func shardsAreNamedAndIndexedAsEverywhere() throws {
    let written = try Written([[2, 3], [4], [1, 7]], shardBytes: 40)
    #expect(
      try written.names == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
      ])
    let url = URL(fileURLWithPath: "\(written.directory.path)/model.safetensors.index.json")
    let any = try JSONSerialization.jsonObject(with: Data(contentsOf: url))
    let index = try #require(any as? [String: [String: Any]])
    #expect(index["metadata"] as? [String: Int] == ["total_size": 68, "total_parameters": 17])
    #expect(
      index["weight_map"] as? [String: String] == [
        "layer.0.weight": "model-00001-of-00002.safetensors",
        "layer.1.weight": "model-00001-of-00002.safetensors",
        "layer.2.weight": "model-00002-of-00002.safetensors",
      ])
    let single = try Written([[2]], shardBytes: 40)
    #expect(try single.names == ["model.safetensors"])
  }

  /// The tensors of every file start at a multiple of eight, as readers that map files want it.
  @Test func headersAreAligned() throws {
    for shard in try Written([[3], [5, 1]], shardBytes: 12).layout.shards {
      #expect(shard.header.count % 8 == 0)
      let header = try SafetensorsHeader(start: shard.header, fileBytes: shard.byteCount)
      #expect(header.metadata == ["format": "pt"])
    }
  }

  /// The golden was written by the Python library safetensors 0.8.0.
  @Test func aFileOfThePythonLibraryReads() throws {
    let url = try #require(
      Bundle.module.url(
        forResource: "safetensors-numpy", withExtension: "safetensors", subdirectory: "Goldens"))
    let file = try SafetensorsFile(url.path)
    #expect(file.header.metadata == ["format": "np", "note": "two\nlines"])
    let shapes = file.header.entries.reduce(into: [:]) { $0[$1.tensor.name] = $1.tensor.shape }
    #expect(
      shapes == [
        "model.shared.weight": [2, 3], "half": [2], "steps": [2, 1], "empty": [0, 4],
        "scalar": [], "näme/“quoted” \"x\"": [3],
      ])
    #expect(
      try file.bytes("model.shared.weight", 0..<24) == floats([-0.5, -0.25, 0, 0.25, 0.5, 0.75]))
    #expect(try file.bytes("half", 0..<4) == [0x00, 0x3E, 0x00, 0xC0])
    #expect(try file.bytes("steps", 8..<16) == [0xF7] + [UInt8](repeating: 0xFF, count: 7))
    #expect(try file.bytes("näme/“quoted” \"x\"", 0..<3) == [1, 0, 1])
    #expect(try file.bytes("empty", 0..<0).isEmpty)
  }

  @Test func errorsNameFileAndOffset() throws {
    let written = try Written([[2, 3]], shardBytes: 1 << 20)
    let path = written.directory.path + "/model.safetensors"
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    try data.dropLast(3).write(to: URL(fileURLWithPath: path))
    let error = #expect(throws: InterchangeError.self) {
      _ = try CheckpointFolder(written.directory.path)
    }
    #expect(error?.description.hasPrefix("\(path) at offset ") == true)
    #expect(throws: InterchangeError.missing(path: path + "x", what: "the file")) {
      _ = try SafetensorsFile(path + "x")
    }
    #expect(throws: InterchangeError.self) { _ = try SafetensorsFile(written.directory.path) }
  }

  /// An index is believed only as far as the files bear it out, and never leads elsewhere.
  @Test(arguments: [
    ("layer.0.weight", "layer.9.weight", "is not in"),
    ("model-00001-of-00002", "../model-00001-of-00002", "is not the name of a file here"),
    ("model-00001-of-00002", "model-00003-of-00002", "model-00003-of-00002.safetensors is missing"),
    ("weight_map", "weights", "no index with a weight_map"),
    (
      "\"layer.1.weight\": \"model-00001", "\"layer.1.weight\": \"model-00002",
      "is not in the index"
    ),
  ])
  func anIndexThatIsWrongIsRefused(_ old: String, _ new: String, _ cause: String) throws {
    let written = try Written([[2, 3], [4], [1, 7]], shardBytes: 40)
    let path = written.directory.path + "/model.safetensors.index.json"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    let changed = text.replacingOccurrences(of: old, with: new)
    try #require(changed != text)
    try changed.write(toFile: path, atomically: true, encoding: .utf8)
    let error = #expect(throws: InterchangeError.self) {
      _ = try CheckpointFolder(written.directory.path)
    }
    #expect(error?.description.contains(cause) == true, "\(String(describing: error))")
  }
}

@Suite struct StagedDirectoryTests {
  @Test func aDirectoryAppearsWhenItIsComplete() throws {
    let place = try TemporaryDirectory()
    let target = place.path + "/new"
    let staged = try StagedDirectory(target + "/", neededBytes: 10)
    try writeSynced([1, 2], to: staged.path + "/file")
    #expect(!FileManager.default.fileExists(atPath: target))
    try staged.publish()
    #expect(try FileManager.default.contentsOfDirectory(atPath: target) == ["file"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: place.path) == ["new"])
  }

  @Test func whatFailsLeavesNothing() throws {
    let place = try TemporaryDirectory()
    do {
      let staged = try StagedDirectory(place.path + "/new", neededBytes: 10)
      try writeSynced([1, 2], to: staged.path + "/file")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: place.path).isEmpty)
  }

  /// As after a kill: the mark says that the directory may be deleted.
  @Test func whatAKilledProcessLeftIsReplaced() throws {
    let place = try TemporaryDirectory()
    try place.write("", "new.partial/.pagoda-unfinished")
    try place.write("half", "new.partial/file")
    try StagedDirectory(place.path + "/new", neededBytes: 10).publish()
    #expect(try FileManager.default.contentsOfDirectory(atPath: place.path + "/new").isEmpty)
  }

  @Test func twoAtOnceAreRefused() throws {
    let place = try TemporaryDirectory()
    let first = try StagedDirectory(place.path + "/new", neededBytes: 10)
    let mark = place.path + "/new.partial/.pagoda-unfinished"
    #expect(throws: InterchangeError.inUse(path: mark)) {
      _ = try StagedDirectory(place.path + "/new", neededBytes: 10)
    }
    try first.publish()
    #expect(try FileManager.default.contentsOfDirectory(atPath: place.path) == ["new"])
  }

  @Test func whatIsNotOursIsLeftAlone() throws {
    let place = try TemporaryDirectory()
    try place.write("mine", "full/letter")
    try place.write("mine", "new.partial/letter")
    try place.write("mine", "file")
    for target in ["full", "new", "file"] {
      let error = #expect(throws: InterchangeError.self) {
        _ = try StagedDirectory(place.path + "/\(target)", neededBytes: 10)
      }
      #expect(error?.description.contains("is not empty") == true)
    }
    let tooLarge = #expect(throws: InterchangeError.self) {
      _ = try StagedDirectory(place.path + "/large", neededBytes: Int.max)
    }
    #expect(tooLarge?.description.contains("missing") == true)
    #expect(
      try FileManager.default.subpathsOfDirectory(atPath: place.path).sorted() == [
        "file", "full", "full/letter", "new.partial", "new.partial/letter",
      ])
  }
}
