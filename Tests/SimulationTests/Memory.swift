import DirectIO
import PinnedMemory

/// Aligned memory of one test.
@safe final class Memory {
  let slice: PinnedSlice

  init(pages: Int, filledWith byte: UInt8 = 0) {
    slice = unsafe PinnedSlice(
      address: .allocate(byteCount: pages * 4096, alignment: 4096), byteCount: pages * 4096)
    fill(byte)
  }
  deinit { unsafe slice.address.deallocate() }

  func fill(_ byte: UInt8) {
    unsafe slice.bytes.initializeMemory(as: UInt8.self, repeating: byte)
  }
  var bytes: [UInt8] { unsafe [UInt8](slice.bytes) }
}

extension Disk {
  /// Submits one transfer and waits for it.
  func perform(_ kind: Transfer.Kind, _ file: DiskFile, page: Int, _ memory: Memory) -> DiskError? {
    submit(Transfer(kind, file, offset: page * 4096, memory: memory.slice, tag: 1))
    return nextCompletion(wait: true)?.failure
  }
}
