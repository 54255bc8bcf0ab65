import Foundation
import Fuzzing
import Interchange
import TestSupport
import Testing

private func folder(_ name: String) throws -> CheckpointFolder {
  try CheckpointFolder(resource("checkpoints/\(name)"))
}

/// A safetensors file of one float for each name.
private func safetensors(_ names: [String]) -> [UInt8] {
  let members = names.enumerated().map {
    #""\#($1)":{"dtype":"F32","shape":[1],"data_offsets":[\#(4 * $0),\#(4 * $0 + 4)]}"#
  }
  let json = Array("{\(members.joined(separator: ","))}".utf8)
  let zeros = [UInt8](repeating: 0, count: 4 * names.count)
  return ZipForge.number(UInt64(json.count), 8) + json + zeros
}

private func pytorch(_ names: [String]) -> [UInt8] {
  let pickle = PickleForge.dictionary {
    for name in names {
      $0.add(tensor: name, shape: [1], strides: [1], storage: "0", count: 1)
    }
  }
  return ZipForge.checkpoint(pickle, ["0": [0, 0, 128, 63]]).file
}

private func index(_ map: [(String, String)]) -> [UInt8] {
  let members = map.map { #""\#($0)":"\#($1)""# }.joined(separator: ",")
  return Array(
    #"{"metadata":{"total_size":1.5e2,"x":[null,true]},"weight_map":{\#(members)}}"#.utf8)
}

/// What an index names after the tensor `a` of one.bin, and words of what is said of it.
private let wrongIndexes: [(second: [String], cause: String)] = [
  (["b=../two.bin"], "`../two.bin` is not the name of a file here"),
  (["b=/etc/passwd"], "`/etc/passwd` is not the name"),
  (["b="], "`` is not the name"),
  (["b=x/two.bin"], "`x/two.bin` is not the name"),
  ([#"b=two.bin\u0000"#], #"`two.bin\u{0}` is not the name"#),
  (["b=link.bin"], "link.bin at offset 0: a symbolic link; import with"),
  (["b=two.bin", "b=one.bin"], "`b` is there twice"),
  (["b=one.bin"], "`b` is not in one.bin"),
  (["c=two.bin"], "`b` of two.bin is not in the index"),
  (["b=both.bin"], "`a` of both.bin is not in the index"),
]

@Suite struct CheckpointFolderTests {
  /// The same weights in the files of PyTorch and of safetensors, each in several.
  @Test(arguments: [
    ("switch-tiny-bin", "switch-tiny"), ("nllb-moe-tiny-bin", "nllb-moe-tiny-sharded"),
  ])
  func filesOfPyTorchHaveTheBitsOfSafetensors(_ bin: String, _ other: String) throws {
    let (found, wanted) = (try folder(bin), try folder(other))
    #expect(Set(found.tensors.map(\.file)).count == 3 && found.tensors.count > 100)
    // Files of PyTorch have tied weights under all of their names.
    let prefix = found.names.contains("shared.weight") ? "" : "model."
    let tied = ["lm_head", "\(prefix)encoder.embed_tokens", "\(prefix)decoder.embed_tokens"]
    #expect(found.names == wanted.names.union(tied.map { "\($0).weight" }))
    for name in tied { #expect(found.areTied("\(name).weight", "\(prefix)shared.weight")) }
    #expect(!found.areTied("lm_head.weight", "lm_head.bias"))
    for tensor in wanted.tensors {
      #expect(found.tensor(tensor.name)?.shape == tensor.shape)
      #expect(found.tensor(tensor.name)?.type == tensor.type)
      let bits = try wanted.bits(tensor.name)
      #expect(try found.bits(tensor.name) == bits, "\(tensor.name)")
      let columns = tensor.shape.last ?? 1
      #expect(
        try found.bits(tensor.name, rows: 0..<1, columns: 1..<columns)
          == Array(bits[1..<columns]), "\(tensor.name)")
    }
  }

  /// bfloat16 on disk is the nearest to the float32 of the other folder, halves to even.
  @Test func halvesAreWidened() throws {
    let (found, wanted) = (try folder("mixtral-tiny-bf16"), try folder("mixtral-tiny-sharded"))
    #expect(found.names == wanted.names && found.tensors.allSatisfy { $0.type == .bf16 })
    #expect(Set(wanted.tensors.map(\.file)).count == 4)
    for tensor in found.tensors {
      let rounded = try wanted.bits(tensor.name).map { bits -> UInt32 in
        let half = UInt32(0x7FFF) + (bits >> 16 & 1)
        return (bits + half) & 0xFFFF_0000
      }
      #expect(try found.bits(tensor.name) == rounded, "\(tensor.name)")
    }
  }

  @Test func tensorsSayWhereTheyAre() throws {
    let tensor = try #require(
      try folder("mixtral-tiny-sharded").tensor("model.embed_tokens.weight"))
    #expect(tensor.shape == [128, 32] && tensor.type == .f32)
    #expect(tensor.file == "model-00001-of-00004.safetensors")
    #expect(
      try folder("mixtral-tiny-sharded").path(of: tensor.name)?
        .hasSuffix("mixtral-tiny-sharded/\(tensor.file)") == true)
  }

  /// What lies beside the files that are taken, and what must not.
  @Test func safetensorsArePreferredWhenBothAreComplete() throws {
    let place = try TemporaryDirectory()
    try place.write(pytorch(["b"]), "pytorch_model.bin")
    #expect(try CheckpointFolder(place.path).names == ["b"])
    try place.write(safetensors(["a"]), "model.safetensors")
    #expect(try CheckpointFolder(place.path).names == ["a"])
    // An index that names no other file than the one does not contradict it.
    try place.write(index([("a", "model.safetensors")]), "model.safetensors.index.json")
    #expect(try CheckpointFolder(place.path).names == ["a"])
  }

  @Test func halfAFetchedModelIsRefused() throws {
    let place = try TemporaryDirectory()
    try place.write(safetensors(["a"]), "one.safetensors")
    try place.write(
      index([("a", "one.safetensors"), ("b", "two.safetensors")]), "model.safetensors.index.json")
    let missing = #expect(throws: InterchangeError.self) { _ = try CheckpointFolder(place.path) }
    #expect(missing?.exitCode == 66 && missing?.description.contains("its file two.safe") == true)
    try place.write(pytorch(["a", "b"]), "pytorch_model.bin")
    let text = badData { _ = try CheckpointFolder(place.path) }
    #expect(text?.contains("two.safetensors, which is not there, while the PyTorch files") == true)
    try place.write(safetensors(["b"]), "two.safetensors")
    #expect(try CheckpointFolder(place.path).names == ["a", "b"])
    try place.write(index([("a", "pytorch_model-1.bin")]), "pytorch_model.bin.index.json")
    #expect(badData { _ = try CheckpointFolder(place.path) }?.contains("beside it is") == true)
    try FileManager.default.removeItem(atPath: place.path + "/pytorch_model.bin")
    #expect(
      badData { _ = try CheckpointFolder(place.path) }?.contains("while the safetensors files")
        == true)
    let empty = #expect(throws: InterchangeError.self) {
      _ = try CheckpointFolder(TemporaryDirectory().path)
    }
    #expect(empty?.exitCode == 66)
  }

  /// An index is believed only as far as the files bear it out, and never leads elsewhere.
  @Test(arguments: wrongIndexes)
  func anIndexThatIsWrongIsRefused(_ second: [String], _ cause: String) throws {
    let place = try TemporaryDirectory()
    try place.write(pytorch(["a"]), "one.bin")
    try place.write(pytorch(["b"]), "two.bin")
    try place.write(pytorch(["a", "b"]), "both.bin")
    try FileManager.default.createSymbolicLink(
      atPath: place.path + "/link.bin", withDestinationPath: place.path + "/two.bin")
    let rest = second.map { entry in
      let parts = entry.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
      return (parts[0], parts[1])
    }
    let map = [("a", "one.bin")] + rest
    try place.write(index(map), "pytorch_model.bin.index.json")
    let text = badData { _ = try CheckpointFolder(place.path) }
    #expect(text?.contains(cause) == true, "\(text ?? "")")
    #expect(text?.hasPrefix(place.path) == true)
  }

  @Test func linksAreFollowedWhenTheyMay() throws {
    let place = try TemporaryDirectory()
    try place.write(pytorch(["a"]), "blob")
    try FileManager.default.createSymbolicLink(
      atPath: place.path + "/pytorch_model.bin", withDestinationPath: "blob")
    #expect(badData { _ = try CheckpointFolder(place.path) }?.contains("symbolic link") == true)
    #expect(try CheckpointFolder(place.path, followsLinks: true).names == ["a"])
  }

  @Test(arguments: [
    ("{}", "no index with a weight_map"), ("[]", "`{`"), (#"{"weight_map":[]}"#, "`{`"),
    (#"{"weight_map":{}}"#, "the index names no tensor"), (#"{"weight_map":{"a":1}}"#, "`\"`"),
    (#"{"metadata":{"a":01},"weight_map":{}}"#, "`01` is no"),
    (#"{"weight_map":{"a":"b"},"weight_map":{"a":"b"}}"#, "two weight_maps"),
    (#"{"metadata":{"a":1,"a":1}}"#, "`a` is there twice"), (#"{"metadata":nul}"#, "`nul` is no"),
    (#"{"metadata":1e999}"#, "too large"), (#"{"metadata":NaN}"#, "`NaN` is no value"),
    ("{\"metadata\":" + String(repeating: "[", count: 1 << 20), "too many brackets"),
  ])
  func textThatIsNoIndexIsRefused(_ json: String, _ cause: String) throws {
    let place = try TemporaryDirectory()
    try place.write(Array(json.utf8), "model.safetensors.index.json")
    let text = badData { _ = try CheckpointFolder(place.path) }
    #expect(text?.contains(cause) == true, "\(text ?? "")")
  }
}
