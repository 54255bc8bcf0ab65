import Base
import DirectIO
import PinnedMemory
import Storage
import Tracing

/// What moves between frames and disk.
extension Pager {
  /// Starts reading those of `planes` that exist on disk and not in memory; adjacent ones together.
  /// - Parameter isCheckedLater: by the holder of the page.
  /// - Returns: what had to be read.
  mutating func startReads(
    _ resident: Resident, _ planes: PlaneSet, _ priority: Transfer.Priority,
    isCheckedLater: Bool = false
  ) -> PlaneSet {
    let missing = planes.subtracting(resident.valid).subtracting(resident.reading)
    guard !missing.isEmpty, !resident.isBlank, store.record(of: resident.block) != nil else {
      return []
    }
    precondition(
      resident.writing.isDisjoint(with: missing), "what is being written is in memory")
    if missing.contains(.hi) {
      startRead(resident, from: .hi, through: .hi, priority, isCheckedLater: isCheckedLater)
    }
    // Planes without bytes part nothing.
    var first: Plane?
    var last: Plane?
    for plane in store.geometry.planes.subtracting(.hi).planes {
      if missing.contains(plane) {
        (first, last) = (first ?? plane, plane)
      } else if let start = first, let end = last {
        startRead(resident, from: start, through: end, priority, isCheckedLater: isCheckedLater)
        first = nil
      }
    }
    if let first, let last {
      startRead(resident, from: first, through: last, priority, isCheckedLater: isCheckedLater)
    }
    return missing
  }

  /// Those that have bytes.
  private func planes(from first: Plane, through last: Plane) -> PlaneSet {
    PlaneSet(first, through: last).intersection(store.geometry.planes)
  }

  private mutating func startRead(
    _ resident: Resident, from first: Plane, through last: Plane, _ priority: Transfer.Priority,
    isRepeated: Bool = false, isCheckedLater: Bool = false
  ) {
    resident.reading.formUnion(planes(from: first, through: last))
    let operation = Operation(
      kind: .read, resident: resident, first: first, last: last, isRepeated: isRepeated,
      isCheckedLater: isCheckedLater)
    submit(operation, at: store.place(of: resident.block), priority)
  }

  /// Starts writing all planes, in two transfers because they are in two frames.
  /// - Parameter isLate: as a record of the frozen generation.
  mutating func startWrite(_ resident: Resident, isLate: Bool) {
    precondition(resident.valid == store.geometry.planes, "whole records are written")
    precondition(resident.inTransfer.isEmpty, "one write at a time")
    let checksums = checksumsToWrite(resident)
    guard let place = place(for: resident, checksums, isLate: isLate) else { return }
    resident.writing = store.geometry.planes
    counters.pagesWritten += 1
    for (first, last) in [(Plane.hi, Plane.hi), (.lo, .v)] {
      let operation = Operation(
        kind: .write, resident: resident, first: first, last: last, isRepeated: false,
        generation: isLate ? freezes - 1 : freezes)
      submit(operation, at: place, .writeBack)
    }
  }

  /// Where the record goes; waits until a slot is free. Nil when waiting fails: nothing can be
  /// committed any more.
  private mutating func place(
    for resident: Resident, _ checksums: PlaneValues<UInt64>, isLate: Bool
  ) -> RecordPlace? {
    while failure == nil {
      if let place = store.beginWrite(
        resident.block, isLate: isLate, checksums: checksums, history: resident.history)
      {
        return place
      }
      do throws(StorageError) { try waitForSlot() } catch { failure = error }
    }
    return nil
  }

  /// The holder waits for these, whatever they were started for.
  mutating func promoteTransfers(of resident: Resident) {
    for (tag, operation) in operations where operation.resident === resident {
      store.disk.promote(tag: tag)
    }
  }

  private mutating func submit(
    _ operation: Operation, at place: RecordPlace, _ priority: Transfer.Priority
  ) {
    let memory = operation.resident.memory(from: operation.first, through: operation.last)
    let offset = place.offset + store.geometry.offset(of: operation.first)
    var operation = operation
    operation.traced = noteSubmitted(operation.kind, memory.byteCount, at: place.file)
    operations[nextTag] = operation
    switch operation.kind {
    case .read: readsInFlight += 1
    // Booked where it starts: a write that ends later still belongs to the step that asked for it.
    case .write:
      counters.bytesWritten += memory.byteCount
      countWrite(operation, 1)
    }
    store.disk.submit(
      Transfer(
        operation.kind, place.file, offset: offset, memory: memory, tag: nextTag,
        priority: priority))
    nextTag += 1
  }

  private mutating func countWrite(_ operation: Operation, _ change: Int) {
    if operation.generation == freezes {
      openWritesInFlight += change
    } else {
      closing?.writesInFlight += change
    }
  }

  /// Waits for one transfer, whatever it is, and books the time under `cause`.
  /// - Parameter block: the one that is waited for; nil when no page is.
  mutating func waitForCompletion(for cause: StallCause, of block: BlockID? = nil) {
    precondition(
      transfersInFlight > 0, "pages held at once leave a frame of each kind for the next one")
    let start = nanoseconds()
    guard let completion = store.disk.nextCompletion(wait: true) else {
      preconditionFailure("a submitted transfer completes")
    }
    bookStall(cause, since: start, for: block)
    finish(completion)
  }

  /// Books a finished transfer.
  mutating func finish(_ completion: Completion) {
    guard let operation = operations.removeValue(forKey: completion.tag) else {
      return finishScratch(completion)
    }
    noteEnded(operation, byteCount(operation), hasFailed: completion.failure != nil)
    let resident = operation.resident
    let planes = planes(from: operation.first, through: operation.last)
    switch operation.kind {
    case .read:
      readsInFlight -= 1
      resident.reading.subtract(planes)
      if let failure = completion.failure {
        lose(resident, planes) { store in
          .unreadable(
            resident.block, operation.first, operation.last, failure,
            store.state(of: resident.block))
        }
      } else {
        finishRead(operation, planes)
      }
    case .write:
      countWrite(operation, -1)
      resident.writing.subtract(planes)
      if let failure = completion.failure {
        self.failure =
          self.failure ?? .transfer(resident.block, operation.first, operation.last, failure)
      }
    }
    settle(resident)
  }

  /// Accepts what was read when every plane has its checksum; else reads it once more, because the
  /// bytes on disk may be right and the transfer wrong.
  private mutating func finishRead(_ operation: Operation, _ planes: PlaneSet) {
    let resident = operation.resident
    var damaged: Damage?
    var found = PlaneValues<UInt64>(hi: 0, lo: 0, m: 0, v: 0)
    if !operation.isCheckedLater {
      found = checksums(planes, of: resident)
      damaged = store.damage(of: planes, in: resident.block, found: found)
    }
    guard let damaged else {
      resident.valid.formUnion(planes)
      if operation.isCheckedLater { resident.unchecked.formUnion(planes) }
      counters.bytesRead += byteCount(operation)
      if resident.isDismissed { countUnused(resident, planes) }
      return
    }
    if operation.isRepeated {
      lose(resident, planes) {
        .damaged($0.damage(of: planes, in: resident.block, found: found) ?? damaged)
      }
    } else {
      counters.repeatedReads += 1
      startRead(
        resident, from: operation.first, through: operation.last,
        resident.isReadAhead(planes) ? .prefetch : .demand, isRepeated: true)
    }
  }

  /// The record of `resident` cannot be had. The generation on its way, if that needs it, is given
  /// up, so that the one before stays the last.
  ///
  /// What was only anticipated is forgotten instead: a visit that wants it reads again. Not so a record
  /// that no durable generation has: nobody may come for it before a commit, which would free the last
  /// whole one.
  /// - Parameters:
  ///   - planes: that could not be read.
  ///   - error: what is left without the record, asked before and after.
  private mutating func lose(
    _ resident: Resident, _ planes: PlaneSet, _ error: (Store) -> StorageError
  ) {
    let wasAnticipated = resident.isReadAhead(planes)
    resident.readAhead.subtract(planes)
    guard !wasAnticipated || store.isUncommitted(resident.block) else { return }
    store.giveUp(resident.block, error(store))
    let found = error(store)
    resident.failure = found
    if closing != nil || wasAnticipated { failure = failure ?? found }
  }

  func byteCount(_ operation: Operation) -> Int {
    operation.resident.memory(from: operation.first, through: operation.last).byteCount
  }
}

extension PlaneSet {
  /// Adjacent planes.
  fileprivate init(_ first: Plane, through last: Plane) {
    self = []
    for plane in Plane.allCases where first.rawValue...last.rawValue ~= plane.rawValue {
      insert(PlaneSet(plane))
    }
  }
}

extension Store {
  /// That of the first of `planes` whose checksum is not the one `found`.
  func damage(of planes: PlaneSet, in block: BlockID, found: PlaneValues<UInt64>) -> Damage? {
    planes.planes.lazy.compactMap { self.damage(of: $0, in: block, found: found[$0]) }.first
  }
}
