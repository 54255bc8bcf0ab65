import PinnedMemory

/// Aligned memory of a probe, touched once so that its pages exist. Not locked: a probe needs none
/// of the rights that locking does.
@safe final class ProbeMemory {
  let slice: PinnedSlice

  init(byteCount: Int) {
    slice = unsafe PinnedSlice(
      address: .allocate(byteCount: byteCount, alignment: 4096), byteCount: byteCount)
    unsafe slice.bytes.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit { unsafe slice.address.deallocate() }

  func part(from start: Int, byteCount: Int) -> PinnedSlice {
    precondition(0 <= start && start + byteCount <= slice.byteCount, "the part is inside")
    return unsafe PinnedSlice(address: slice.address + start, byteCount: byteCount)
  }
}
