import PinnedMemory
import Storage
import Synchronization

/// Checksums of what was read and of what will be written.
extension Pager {
  /// Of each of `planes` of a resident, side by side (`forEach`); 0 of the others.
  func checksums(_ planes: PlaneSet, of resident: Resident) -> PlaneValues<UInt64> {
    // The largest come first: then two threads have half of a record each.
    let slices = planes.planes.map { ($0, resident.memory(of: $0)) }
      .sorted { $0.1.byteCount > $1.1.byteCount }
    let sums = Mutex(PlaneValues<UInt64>(hi: 0, lo: 0, m: 0, v: 0))
    forEach(slices.count) { index in
      let (plane, memory) = slices[index]
      let sum = checksum(of: memory)
      sums.withLock { $0[plane] = sum }
    }
    return sums.withLock { $0 }
  }

  /// Of a leaf of a scratch, which only the run that wrote it reads: that of its pieces' checksums, side
  /// by side.
  func leafChecksum(of memory: PinnedSlice) -> UInt64 {
    let pieceBytes = 4 << 20
    let count = (memory.byteCount + pieceBytes - 1) / pieceBytes
    let sums = Mutex([UInt64](repeating: 0, count: count))
    forEach(count) { index in
      let first = index * pieceBytes
      let sum = checksum(
        of: memory, first..<min(first + pieceBytes, memory.byteCount))
      sums.withLock { $0[index] = sum }
    }
    return sums.withLock { checksum(of: $0) }
  }
}
