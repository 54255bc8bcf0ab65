/// Writes pickles, an opcode after another.
package struct PickleForge {
  package private(set) var bytes: [UInt8]
  private let version: UInt8

  /// - Parameter version: of the protocol. From 4 on with a frame, short strings and a memo
  ///   without numbers.
  package init(version: UInt8 = 2) {
    self.version = version
    bytes = [0x80, version]
    if version >= 4 { bytes += [0x95] + ZipForge.number(1 << 10, 8) }
  }

  /// Opcodes without arguments, each a letter as Python's module `pickle` has it.
  package mutating func add(_ opcodes: String) { bytes += Array(opcodes.utf8) }

  package mutating func add(_ bytes: [UInt8]) { self.bytes += bytes }

  package mutating func add(text: String) {
    guard version < 4 || text.utf8.count > 255 else {
      bytes += [0x8C, UInt8(text.utf8.count)] + Array(text.utf8) + [0x94]
      return
    }
    bytes += [UInt8(ascii: "X")] + ZipForge.number(UInt64(text.utf8.count), 4) + Array(text.utf8)
  }

  package mutating func add(global module: String, _ name: String) {
    if version < 4 {
      bytes += Array("c\(module)\n\(name)\n".utf8)
    } else {
      add(text: module)
      add(text: name)
      bytes += [0x93, 0x94]
    }
  }

  /// As LONG1 of eight bytes.
  package mutating func add(number: Int) {
    bytes += [0x8A, 8] + ZipForge.number(UInt64(bitPattern: Int64(number)), 8)
  }

  package mutating func add(numbers: [Int]) {
    add("(")
    for number in numbers { add(number: number) }
    add("t")
  }

  /// A name, and a tensor of it. To be put between `}(` and `u.`.
  package mutating func add(
    tensor name: String, shape: [Int], strides: [Int], offset: Int = 0, storage key: String,
    count: Int, storageClass: String = "FloatStorage"
  ) {
    add(text: name)
    add(global: "torch._utils", "_rebuild_tensor_v2")
    add("((")
    add(text: "storage")
    add(global: "torch", storageClass)
    add(text: key)
    add(text: "cpu")
    add(number: count)
    add("tQ")
    add(number: offset)
    add(numbers: shape)
    add(numbers: strides)
    add([0x89])
    add(global: "collections", "OrderedDict")
    add(")RtR")
  }

  /// A dictionary of what `members` adds, from the first opcode to the last.
  package static func dictionary(
    version: UInt8 = 2, _ members: (inout PickleForge) -> Void
  ) -> [UInt8] {
    var pickle = PickleForge(version: version)
    pickle.add("}(")
    members(&pickle)
    pickle.add("u.")
    return pickle.bytes
  }
}
