package import Base
import DirectIO
import Glibc
package import Storage
import Tracing

/// A frozen generation on its way to the disk.
struct ClosingGeneration {
  /// Blocks whose pages the owner has still to give.
  var late: Set<BlockID>
  /// Residents with the bytes of this generation, to be written before they are changed.
  var frozen: [Resident]
  var writesInFlight: Int
  /// Syncs of other files that must be durable before it.
  let companions: [@Sendable () throws(StorageError) -> Void]
  /// All was written, and the store is at it.
  var isCommitting = false
  let start = ContinuousClock.now
}

/// A generation that has become durable.
package struct DurableGeneration: Sendable {
  package let step: Int
  /// Seconds from its freeze on.
  package let seconds: Double
}

/// Commits: frozen between two steps, made durable beside the next one.
extension Pager {
  /// So many records of a frozen generation are written at once while others are visited.
  private static let frozenWritesAtOnce = 8

  /// Ends the open generation. Writes nothing: what it still lacks is written from the next visits
  /// on, beside them.
  ///
  /// No page is out, and no other generation is on its way (`finishCommit`).
  /// - Parameters:
  ///   - late: blocks that the owner writes with `blank` and `writeBackLate`.
  ///   - companions: syncs of other files that must be durable before the generation is.
  package mutating func freeze(
    step: Int, payload: [UInt8], late: [BlockID] = [],
    companions: [@Sendable () throws(StorageError) -> Void] = []
  ) throws(StorageError) {
    precondition(closing == nil, "one generation closes at a time")
    collectDropped()
    if let failure { throw failure }
    for resident in dirty {
      precondition(!resident.isHeld, "no page is being changed during a freeze")
      resident.isFrozen = true
    }
    let unwritten = late + dirty.map(\.block)
    while !store.hasRoom(for: unwritten) { try waitForSlot() }
    store.freeze(step: step, payload: payload, late: unwritten)
    closing = ClosingGeneration(
      late: Set(late), frozen: dirty.reversed(), writesInFlight: openWritesInFlight,
      companions: companions)
    (dirty, openWritesInFlight) = ([], 0)
    freezes += 1
  }

  /// Waits until the frozen generation is durable. All late blocks were written.
  package mutating func finishCommit() throws(StorageError) {
    pump()
    while closing != nil {
      if let failure { throw failure }
      precondition(closing?.late.isEmpty == true, "late blocks are written before one waits")
      if closing?.isCommitting == true {
        try bookCommit(wait: true)
      } else {
        waitForCompletion(for: .write)
        advanceCommit()
      }
    }
    pump()
  }

  /// Waits until nothing is in flight, for who shares the drive with others and is to leave it to them.
  package mutating func drain() throws(StorageError) {
    while transfersInFlight > 0 { waitForCompletion(for: .write) }
    if let failure { throw failure }
  }

  /// Freezes, writes and waits: makes everything until now the last generation of the store.
  package mutating func commit(step: Int, payload: [UInt8]) throws(StorageError) {
    try freeze(step: step, payload: payload)
    try finishCommit()
  }

  /// The generation that has become durable since the last call; nil when none has.
  package mutating func takeDurable() -> DurableGeneration? {
    defer { durable = nil }
    return durable
  }

  /// Writes what is frozen as far as the disk keeps up, and begins or ends the store's part.
  mutating func advanceCommit() {
    guard closing != nil, failure == nil else { return }
    while let resident = closing?.frozen.last,
      !resident.isFrozen || closing!.writesInFlight < 2 * Self.frozenWritesAtOnce
    {
      closing?.frozen.removeLast()
      if resident.isFrozen {
        writeFrozen(resident)
        settle(resident)
      }
    }
    if closing!.isCommitting {
      // A failure is kept, and ends the visits.
      try? bookCommit(wait: false)
    } else if closing!.frozen.isEmpty, closing!.late.isEmpty, closing!.writesInFlight == 0 {
      store.makeDurable(closing!.companions)
      closing!.isCommitting = true
    }
  }

  /// Writes a resident as the frozen generation has it.
  mutating func writeFrozen(_ resident: Resident) {
    (resident.isFrozen, resident.isDirty) = (false, false)
    startWrite(resident, isLate: true)
  }

  private mutating func bookCommit(wait: Bool) throws(StorageError) {
    let ended: Generation?
    let start = nanoseconds()
    defer { if wait { bookStall(.slot, since: start) } }
    do throws(StorageError) {
      ended = try store.finishCommit(wait: wait)
    } catch {
      failure = error
      throw error
    }
    guard let generation = ended, let closing else { return }
    durable = DurableGeneration(
      step: generation.step, seconds: (ContinuousClock.now - closing.start) / .seconds(1))
    self.closing = nil
  }

  /// Waits until a slot may be free: for the generation on its way, or for a reader of old ones.
  mutating func waitForSlot() throws(StorageError) {
    if closing != nil {
      precondition(closing?.late.isEmpty == true, "late blocks are written before slots run out")
      return try finishCommit()
    }
    guard try !store.dropUnread() else { return }
    try whileReaderWaits()
    let start = nanoseconds()
    usleep(50_000)
    bookStall(.slot, since: start)
  }
}
