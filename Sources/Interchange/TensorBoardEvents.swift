/// TensorBoard event files: scalars only, encoded by hand.
///
/// A file is a sequence of records, each
///
///     u64 length | u32 masked CRC-32C of the length | payload | u32 masked CRC-32C of the payload
///
/// in little-endian order, where a payload is a protobuf `Event`: wall_time = 1 (double), step = 2
/// (varint), file_version = 3 (string), summary = 5 with values = 1 of {tag = 1, simple_value = 2},
/// session_log = 7 with status = 1.
package enum TensorBoardEvents {
  /// The record every file starts with.
  package static func header(wallTime: Double) -> [UInt8] {
    var event = Protobuf()
    event.double(1, wallTime)
    event.bytes(3, Array("brain.Event:2".utf8))
    return record(event.encoded)
  }

  /// A run (re)starts at `step`: TensorBoard drops what older files of the directory have from
  /// there on, which was computed and then lost.
  package static func sessionStart(wallTime: Double, step: Int) -> [UInt8] {
    var log = Protobuf()
    log.varint(1, 1)
    var event = Protobuf()
    event.double(1, wallTime)
    event.varint(2, UInt64(step))
    event.bytes(7, log.encoded)
    return record(event.encoded)
  }

  /// One record with the scalars of one step.
  package static func scalars(
    wallTime: Double, step: Int, _ values: [(tag: String, value: Float)]
  ) -> [UInt8] {
    var summary = Protobuf()
    for (tag, value) in values {
      var entry = Protobuf()
      entry.bytes(1, Array(tag.utf8))
      entry.float(2, value)
      summary.bytes(1, entry.encoded)
    }
    var event = Protobuf()
    event.double(1, wallTime)
    event.varint(2, UInt64(step))
    event.bytes(5, summary.encoded)
    return record(event.encoded)
  }

  private static func record(_ payload: [UInt8]) -> [UInt8] {
    let length = littleEndian(UInt64(payload.count), bytes: 8)
    return length + littleEndian(UInt64(maskedCRC(length)), bytes: 4) + payload
      + littleEndian(UInt64(maskedCRC(payload)), bytes: 4)
  }

  /// The CRC is rotated and shifted so that a CRC of data holding CRCs stays a good check.
  private static func maskedCRC(_ bytes: [UInt8]) -> UInt32 {
    let crc = crc32c(bytes)
    return ((crc >> 15) | (crc << 17)) &+ 0xA282_EAD8
  }
}

/// CRC-32C (Castagnoli), reflected polynomial 0x82F63B78.
package func crc32c(_ bytes: [UInt8]) -> UInt32 {
  var crc = UInt32.max
  for byte in bytes { crc = crcTable[Int((crc ^ UInt32(byte)) & 255)] ^ (crc >> 8) }
  return ~crc
}

private let crcTable: [UInt32] = (0..<256).map { index in
  (0..<8).reduce(UInt32(index)) { crc, _ in (crc >> 1) ^ (crc & 1 == 1 ? 0x82F6_3B78 : 0) }
}

private func littleEndian(_ value: UInt64, bytes: Int) -> [UInt8] {
  (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
}

/// The three protobuf wire types that events use.
private struct Protobuf {
  private(set) var encoded: [UInt8] = []

  mutating func varint(_ field: Int, _ value: UInt64) {
    raw(UInt64(field << 3))
    raw(value)
  }
  mutating func double(_ field: Int, _ value: Double) {
    raw(UInt64(field << 3 | 1))
    encoded += littleEndian(value.bitPattern, bytes: 8)
  }
  mutating func float(_ field: Int, _ value: Float) {
    raw(UInt64(field << 3 | 5))
    encoded += littleEndian(UInt64(value.bitPattern), bytes: 4)
  }
  mutating func bytes(_ field: Int, _ value: [UInt8]) {
    raw(UInt64(field << 3 | 2))
    raw(UInt64(value.count))
    encoded += value
  }
  private mutating func raw(_ value: UInt64) {
    var rest = value
    while rest > 127 {
      encoded.append(UInt8(rest & 127) | 128)
      rest >>= 7
    }
    encoded.append(UInt8(rest))
  }
}
