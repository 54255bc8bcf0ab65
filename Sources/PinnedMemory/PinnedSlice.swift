/// A piece of pinned memory that a transfer may fill or drain. Only memory of a pool comes in this
/// form, so that alignment and registration are properties of the type.
///
/// @unchecked Sendable: a slice names memory; the page that owns it decides who may touch it, and a
/// transfer in flight is that one owner.
@safe package struct PinnedSlice: @unchecked Sendable {
  /// The first byte, aligned as the pool was asked to align.
  package let address: UnsafeMutableRawPointer
  package let byteCount: Int

  /// - Parameters:
  ///   - address: start of `byteCount` bytes that stay mapped as long as the pool lives.
  package init(address: UnsafeMutableRawPointer, byteCount: Int) {
    precondition(byteCount > 0, "a slice has bytes")
    unsafe self.address = unsafe address
    self.byteCount = byteCount
  }

  package var bytes: UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(start: address, count: byteCount)
  }
}
