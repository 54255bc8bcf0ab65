import DirectIO
import PinnedMemory
package import Storage
import Synchronization
import Tracing

/// Checksums of what was read and of what will be written.
extension Pager {
  /// Of each of `planes` of a resident, side by side (`forEach`); 0 of the others.
  func checksums(_ planes: PlaneSet, of resident: Resident) -> PlaneValues<UInt64> {
    PieceSums(of: resident, planes).finish(forEach)
  }

  /// Of what will be written: of each piece that its holder has not taken while it was changed, and of
  /// the planes.
  func checksumsToWrite(_ resident: Resident) -> PlaneValues<UInt64> {
    guard let sums = resident.sums else {
      return checksums(resident.geometry.planes, of: resident)
    }
    resident.sums = nil
    return sums.finish(forEach)
  }

  /// Compares checksums that the holder of a page has taken (`Page.sums`) with those of the record. Of
  /// bytes that are wrong everything is read again, so that the holder may do again what it did.
  /// - Parameters:
  ///   - sums: of the planes as they were; taken here as far as the holder has not.
  ///   - isChanged: the holder has changed the page since.
  /// - Returns: whether the bytes were right.
  /// - Throws: what is wrong with a record that cannot be read right.
  package mutating func check(
    _ page: inout Page, _ sums: PieceSums?, isChanged: Bool
  ) throws(StorageError) -> Bool {
    guard let sums else { return true }
    precondition(!isChanged || sums.isComplete, "sums of what has changed were taken before")
    let resident = page.resident
    guard store.damage(of: sums.planes, in: page.block, found: sums.finish(forEach)) != nil else {
      resident.unchecked.subtract(sums.planes)
      return true
    }
    let planes = isChanged ? page.planes : sums.planes
    forget(resident, planes)
    _ = startReads(resident, planes, .demand)
    while !resident.reading.isDisjoint(with: planes) {
      waitForCompletion(for: .read, of: page.block)
    }
    if let failure = resident.failure { throw failure }
    precondition(resident.valid.isSuperset(of: planes), "what was read once is read again")
    return false
  }

  /// Compares the checksums of those of `planes` of a page that nobody has compared, before its holder
  /// passes over them.
  /// - Throws: what is wrong with a record that cannot be read right.
  package mutating func checkUnpassed(
    _ page: inout Page, _ planes: PlaneSet
  ) throws(StorageError) {
    while try !check(&page, page.sums(toCheck: planes), isChanged: false) {}
  }

  /// Compares the checksums of those of `planes` that are in memory unchecked. What is wrong is read
  /// again.
  /// - Returns: what that is.
  mutating func checkNow(_ resident: Resident, _ planes: PlaneSet) -> PlaneSet {
    let planes = planes.intersection(resident.unchecked)
    guard !planes.isEmpty else { return [] }
    resident.unchecked.subtract(planes)
    let found = checksums(planes, of: resident)
    guard store.damage(of: planes, in: resident.block, found: found) != nil else { return [] }
    forget(resident, planes)
    return startReads(resident, planes, .demand)
  }

  /// What was read of `planes` counts for nothing.
  private mutating func forget(_ resident: Resident, _ planes: PlaneSet) {
    counters.repeatedReads += 1
    counters.bytesRead -= planes.planes.reduce(0) { $0 + store.geometry.planeBytes($1) }
    resident.valid.subtract(planes)
  }
}

extension Page {
  /// Where threads take the checksums of those of `planes` that the holder has to check, before they
  /// change them; nil when there are none.
  package func sums(toCheck planes: PlaneSet) -> PieceSums? {
    let planes = planes.intersection(resident.unchecked)
    return planes.isEmpty ? nil : PieceSums(of: resident, planes)
  }
}
