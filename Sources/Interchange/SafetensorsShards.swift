/// How tensors are spread over files: in the order given, and a new file wherever the next tensor
/// would take one past the limit. A tensor is never cut, so one that is larger has a file to itself.
package struct SafetensorsShards: Sendable {
  package struct Shard: Sendable {
    package let name: String
    /// Number and JSON, as they are written.
    package let header: [UInt8]
    /// Of the whole file.
    package let byteCount: Int
  }
  /// Where a tensor lies: its file, and its bytes from the start of that file.
  package struct Place: Sendable {
    package let shard: Int
    package let bytes: Range<Int>
  }

  package let shards: [Shard]
  package let places: [String: Place]
  /// `STEM.safetensors.index.json` and its text; nil when there is one file only.
  package let index: (name: String, text: String)?

  /// Bytes of all files.
  package var byteCount: Int {
    shards.reduce(0) { $0 + $1.byteCount } + (index?.text.utf8.count ?? 0)
  }

  /// - Parameters:
  ///   - tensors: with names of their own.
  ///   - stem: what the names of the files start with.
  ///   - shardBytes: most bytes of tensors in a file.
  package init(_ tensors: [SafetensorsTensor], stem: String, shardBytes: Int) {
    precondition(!tensors.isEmpty, "a file holds tensors")
    let groups = Self.groups(tensors, shardBytes: shardBytes)
    var shards: [Shard] = []
    var places: [String: Place] = [:]
    for (number, group) in groups.enumerated() {
      let header = Self.header(group)
      var end = header.count
      for tensor in group {
        let start = end
        end += Self.byteCount(tensor)
        let place = Place(shard: number, bytes: start..<end)
        guard places.updateValue(place, forKey: tensor.name) == nil else {
          preconditionFailure("two tensors of the name \(tensor.name)")
        }
      }
      shards.append(
        Shard(name: Self.name(stem, number, of: groups.count), header: header, byteCount: end))
    }
    self.shards = shards
    self.places = places
    index =
      groups.count == 1
      ? nil : (Self.indexName(stem), Self.index(tensors, places, shards))
  }

  package static func indexName(_ stem: String) -> String { "\(stem).safetensors.index.json" }
  package static func singleName(_ stem: String) -> String { "\(stem).safetensors" }

  /// `model-00001-of-00003.safetensors`, or `model.safetensors` when there is one only.
  private static func name(_ stem: String, _ number: Int, of count: Int) -> String {
    func digits(_ value: Int) -> String {
      let text = "\(value)"
      return String(repeating: "0", count: max(0, 5 - text.count)) + text
    }
    if count == 1 { return singleName(stem) }
    return "\(stem)-\(digits(number + 1))-of-\(digits(count)).safetensors"
  }

  private static func groups(
    _ tensors: [SafetensorsTensor], shardBytes: Int
  ) -> [[SafetensorsTensor]] {
    var groups: [[SafetensorsTensor]] = [[]]
    var filled = 0
    for tensor in tensors {
      let bytes = byteCount(tensor)
      if filled + bytes > shardBytes, !groups[groups.count - 1].isEmpty {
        groups.append([])
        filled = 0
      }
      groups[groups.count - 1].append(tensor)
      filled += bytes
    }
    return groups
  }

  private static func byteCount(_ tensor: SafetensorsTensor) -> Int {
    guard let bytes = tensor.type.byteCount(shape: tensor.shape) else {
      preconditionFailure("\(tensor.name) of shape \(tensor.shape) has a size")
    }
    return bytes
  }

  /// Filled up with spaces so that the tensors start at a multiple of eight.
  private static func header(_ tensors: [SafetensorsTensor]) -> [UInt8] {
    var members = ["\"__metadata__\":{\"format\":\"pt\"}"]
    var start = 0
    for tensor in tensors {
      let end = start + byteCount(tensor)
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      members.append(
        "\(quoted(tensor.name)):{\"dtype\":\"\(tensor.type.rawValue)\",\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(start),\(end)]}")
      start = end
    }
    var json = Array("{\(members.joined(separator: ","))}".utf8)
    json += Array(repeating: UInt8(ascii: " "), count: (8 - json.count % 8) % 8)
    return (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) } + json
  }

  private static func index(
    _ tensors: [SafetensorsTensor], _ places: [String: Place], _ shards: [Shard]
  ) -> String {
    let bytes = tensors.reduce(0) { $0 + byteCount($1) }
    let parameters = tensors.reduce(0) { $0 + byteCount($1) / $1.type.byteCount }
    let map = tensors.map(\.name).sorted().compactMap { name in
      places[name].map { "    \(quoted(name)): \(quoted(shards[$0.shard].name))" }
    }
    return """
      {
        "metadata": {
          "total_parameters": \(parameters),
          "total_size": \(bytes)
        },
        "weight_map": {
      \(map.joined(separator: ",\n"))
        }
      }

      """
  }

  private static func quoted(_ text: String) -> String {
    precondition(
      text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0 != "\"" && $0 != "\\" },
      "the name \(text) needs no escape")
    return "\"\(text)\""
  }
}
