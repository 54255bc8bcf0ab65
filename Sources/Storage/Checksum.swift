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
