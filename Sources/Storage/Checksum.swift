internal import CXXHash
package import PinnedMemory

/// XXH3-64 (Y. Collet, xxHash 0.8; seed 0) of all bytes of a slice, padding included.
package func checksum(of slice: PinnedSlice) -> UInt64 {
  unsafe XXH3_64bits(slice.address, slice.byteCount)
}

/// XXH3-64 of a text's UTF-8 bytes.
func checksum(of text: String) -> UInt64 {
  var text = text
  return text.withUTF8 { unsafe XXH3_64bits($0.baseAddress, $0.count) }
}

/// XXH3-64 of some bytes.
func checksum(of bytes: [UInt8]) -> UInt64 {
  unsafe bytes.withUnsafeBytes { unsafe XXH3_64bits($0.baseAddress, $0.count) }
}

/// XXH3-64 of bytes that come in pieces. Owner of the library's state.
@safe struct ChecksumStream: ~Copyable {
  private let state: OpaquePointer

  init() {
    guard let state = unsafe XXH3_createState() else { preconditionFailure("memory for 576 bytes") }
    unsafe self.state = unsafe state
    unsafe _ = XXH3_64bits_reset(state)
  }
  deinit { unsafe _ = XXH3_freeState(state) }

  mutating func add(_ bytes: ArraySlice<UInt8>) {
    unsafe bytes.withUnsafeBytes { unsafe _ = XXH3_64bits_update(state, $0.baseAddress, $0.count) }
  }
  var value: UInt64 { unsafe XXH3_64bits_digest(state) }
}
