import Interchange

/// The first byte says what the others are: `F` a file, `J` the JSON of its header, before which
/// the length is put and behind which there are 16 bytes of tensors, `I` the index of two files.
enum SafetensorsInput {
  private static let scratch = ScratchDirectory("safetensors")
  private static let dataBytes = 16

  static func run(_ bytes: [UInt8]) {
    let rest = Array(bytes.dropFirst())
    do throws(InterchangeError) {
      switch bytes.first {
      case UInt8(ascii: "F"): try readFile(rest)
      case UInt8(ascii: "J"): try readFile(file(rest))
      case UInt8(ascii: "I"): try readIndex(rest)
      default: return
      }
    } catch {
      precondition(!error.description.isEmpty, "an error says something")
    }
  }

  /// Number, JSON and tensors.
  private static func file(_ json: [UInt8]) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) } + json
      + (0..<UInt8(dataBytes)).map { $0 }
  }

  private static func readFile(_ bytes: [UInt8]) throws(InterchangeError) {
    scratch.write(bytes, "x.safetensors")
    let file = try SafetensorsFile("\(scratch.path)/x.safetensors")
    for entry in file.header.entries {
      precondition(bytes.indices.contains(entry.bytes), "a tensor lies in its file")
      var tensor = [UInt8](repeating: 0, count: entry.bytes.count)
      var elements = tensor.mutableSpan
      var span = unsafe elements.mutableBytes
      try file.read(entry, from: 0, into: &span)
      precondition(tensor == Array(bytes[entry.bytes]), "a tensor's own bytes are read")
    }
  }

  private static func readIndex(_ json: [UInt8]) throws(InterchangeError) {
    scratch.makeDirectory("folder")
    for (name, tensor) in [("one", "a"), ("two", "b")] {
      scratch.write(file(header(tensor)), "folder/\(name).safetensors")
    }
    scratch.write(json, "folder/model.safetensors.index.json")
    let folder = try CheckpointFolder("\(scratch.path)/folder")
    for tensor in folder.tensors {
      var floats = [Float](repeating: 0, count: 4)
      var span = floats.mutableSpan
      try folder.read(tensor.name, rows: 0..<2, into: &span)
    }
  }

  private static func header(_ tensor: String) -> [UInt8] {
    Array(#"{"\#(tensor)":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#.utf8)
  }

  static var seeds: [(name: String, bytes: [UInt8])] {
    let several = #"""
      J{"__metadata__":{"format":"pt","a\n\u00e9\ud83d\ude00":"\"\\\/\b\f\r\t"},
      "m.w":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]},"n":{"dtype":"I64","shape":[],
      "data_offsets":[8,16]},"none":{"dtype":"F32","shape":[0,3],"data_offsets":[16,16]}}
      """#
    let index = """
      I{"metadata":{"total_size":32},
      "weight_map":{"a":"one.safetensors","b":"two.safetensors"}}
      """
    return [
      ("file", [UInt8(ascii: "F")] + file(header("a"))), ("several", Array(several.utf8)),
      ("index", Array(index.utf8)),
    ]
  }
}
