internal import CXXHash
package import PinnedMemory

/// How a plane's checksum is made: of the checksums of its pieces, so that each can be taken by any
/// thread, in any order, while the piece is in its cache.
package enum PlanePieces {
  /// Of a piece; the last one of a plane may be shorter.
  package static let byteCount = 16 << 10

  package static func count(_ slice: PinnedSlice) -> Int {
    (slice.byteCount + byteCount - 1) / byteCount
  }

  package static func checksum(of piece: Int, in slice: PinnedSlice) -> UInt64 {
    let first = piece * byteCount
    return Storage.checksum(of: slice, first..<min(first + byteCount, slice.byteCount))
  }
}

/// The checksum of a plane, padding included: XXH3-64 of the checksums of its pieces.
package func planeChecksum(of slice: PinnedSlice) -> UInt64 {
  checksum(
    of: (0..<PlanePieces.count(slice)).map { PlanePieces.checksum(of: $0, in: slice) })
}

/// XXH3-64 (Y. Collet, xxHash 0.8; seed 0) of the bytes of `range` in a slice.
package func checksum(of slice: PinnedSlice, _ range: Range<Int>) -> UInt64 {
  precondition(range.lowerBound >= 0 && range.upperBound <= slice.byteCount, "range in the slice")
  return unsafe pagoda_xxh3(slice.address + range.lowerBound, range.count)
}

/// XXH3-64 of some words, as this machine stores them.
package func checksum(of words: [UInt64]) -> UInt64 {
  unsafe words.withUnsafeBytes { unsafe pagoda_xxh3($0.baseAddress, $0.count) }
}

/// XXH3-64 of a text's UTF-8 bytes.
func checksum(of text: String) -> UInt64 {
  var text = text
  return text.withUTF8 { unsafe pagoda_xxh3($0.baseAddress, $0.count) }
}

/// XXH3-64 of some bytes.
func checksum(of bytes: [UInt8]) -> UInt64 {
  unsafe bytes.withUnsafeBytes { unsafe pagoda_xxh3($0.baseAddress, $0.count) }
}

/// XXH3-64 of bytes that come in pieces. Owner of the library's state.
@safe struct ChecksumStream: ~Copyable {
  private let state: OpaquePointer

  init() {
    guard let state = unsafe pagoda_xxh3_stream_new() else {
      preconditionFailure("memory for 576 bytes")
    }
    unsafe self.state = unsafe state
  }
  deinit { unsafe pagoda_xxh3_stream_free(state) }

  mutating func add(_ bytes: ArraySlice<UInt8>) {
    unsafe bytes.withUnsafeBytes { unsafe pagoda_xxh3_stream_add(state, $0.baseAddress, $0.count) }
  }
  var value: UInt64 { unsafe pagoda_xxh3_stream_value(state) }
}
