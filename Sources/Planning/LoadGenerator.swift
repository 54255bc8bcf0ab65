package import DirectIO
import Glibc
package import PinnedMemory

/// Keeps a disk busy with a load. Between one request and the next nothing is allocated, stamped or
/// compared here: what is timed is the engine, the kernel and the drive.
package struct LoadGenerator {
  /// When no more requests are made; those under way are waited for.
  package enum Limit: Sendable {
    case seconds(Double)
    case bytes(Int)
  }

  /// A request's worth of the window and what is under way with it.
  private struct Slot {
    let memory: PinnedSlice
    var kind = Transfer.Kind.read
    var byteCount = 0
    var startNanoseconds: UInt64 = 0
  }

  private let disk: any Disk
  private let file: DiskFile
  private let load: Load
  private var plan: AccessPlan
  private var slots: [Slot]
  /// Free slots in the order they became free, so that requests rotate through the whole window:
  /// a ring of as many places as there are slots.
  private var free: [Int]
  private var freeHead = 0
  private var inFlight = 0
  /// Taken from the plan and not yet made.
  private var upcoming: Access?
  private var lastKind = Transfer.Kind.read
  private var tally = LoadTally()
  private var failure: DiskError?

  /// - Parameter window: the memory that requests rotate through, shared by reads and writes; it
  ///   holds at least as many requests as are under way at once.
  package init(
    _ disk: any Disk, _ file: DiskFile, window: PinnedSlice, _ load: Load, _ plan: AccessPlan
  ) {
    let count = window.byteCount / load.requestBytes
    precondition(count >= load.queueDepth, "the window holds what is under way")
    self.disk = disk
    self.file = file
    self.load = load
    self.plan = plan
    slots = (0..<count).map {
      Slot(memory: window.part(from: $0 * load.requestBytes, byteCount: load.requestBytes))
    }
    free = Array(0..<count)
  }

  /// Runs until the limit. At least one request is made, so that there is a rate.
  ///
  /// - Parameter latencies: gets the time of each request from submission to completion.
  package mutating func run(
    _ limit: Limit, _ latencies: inout Latencies
  ) throws(DiskError) -> LoadTally {
    tally = LoadTally()
    var bytesLeft = Int.max
    let start = monotonicNanoseconds()
    var deadline = UInt64.max
    switch limit {
    case .seconds(let seconds): deadline = start + UInt64(max(0, seconds) * 1e9)
    case .bytes(let bytes): bytesLeft = bytes
    }
    var now = start
    repeat {
      while inFlight < load.queueDepth, bytesLeft > 0,
        now < deadline || tally.isEmpty && inFlight == 0
      {
        let access = upcoming ?? plan.next()
        upcoming = access
        if mustDrain(before: access) { break }
        upcoming = nil
        bytesLeft -= submit(access, &now)
      }
      reap(&latencies, &now)
      if failure != nil { bytesLeft = 0 }
    } while inFlight > 0 || bytesLeft > 0 && now < deadline
    tally.nanoseconds = now - start
    if let failure { throw failure }
    return tally
  }

  /// Turns begin when the other direction has ended, as the engine's do.
  private func mustDrain(before access: Access) -> Bool {
    load.turnBytes != nil && inFlight > 0 && access.kind != lastKind
  }

  private mutating func submit(_ access: Access, _ now: inout UInt64) -> Int {
    let index = free[freeHead]
    freeHead = freeHead + 1 == free.count ? 0 : freeHead + 1
    inFlight += 1
    lastKind = access.kind
    let whole = slots[index].memory
    let memory =
      access.byteCount == whole.byteCount ? whole : whole.part(from: 0, byteCount: access.byteCount)
    now = monotonicNanoseconds()
    slots[index].kind = access.kind
    slots[index].byteCount = access.byteCount
    slots[index].startNanoseconds = now
    disk.submit(
      Transfer(access.kind, file, offset: access.offset, memory: memory, tag: UInt64(index)))
    return access.byteCount
  }

  /// Waits for one completion and takes all others that are there.
  private mutating func reap(_ latencies: inout Latencies, _ now: inout UInt64) {
    var wait = true
    while inFlight > 0, let completion = disk.nextCompletion(wait: wait) {
      now = monotonicNanoseconds()
      let index = Int(completion.tag)
      let slot = slots[index]
      failure = failure ?? completion.failure
      tally.note(slot.kind, slot.byteCount)
      latencies.note(slot.kind, now - slot.startNanoseconds)
      inFlight -= 1
      let tail = freeHead + free.count - inFlight - 1
      free[tail < free.count ? tail : tail - free.count] = index
      wait = false
    }
  }
}

/// Time since some moment in the past, for differences.
func monotonicNanoseconds() -> UInt64 {
  var time = timespec()
  unsafe _ = clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
