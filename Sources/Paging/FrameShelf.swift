import PinnedMemory

/// One pool with the residents whose frame of its kind nobody needs at the moment.
///
/// Those that a planned visit will need are kept apart from those that, as far as is known, will
/// not be needed: the latter go first, and before them those that were anticipated in vain.
struct FrameShelf {
  let kind: FrameKind
  let pool: FramePool
  private var dismissed = Queue<Entry>()
  private var unplanned = Queue<Entry>()
  private var planned = Queue<Entry>()

  /// What is known of the next visit to a block.
  enum Prospect {
    /// It was anticipated for a sweep that has now passed the block.
    case dismissed
    case unplanned
    case planned
  }

  /// Valid as long as the resident has the same stamp: leaving the middle of a queue costs nothing.
  private struct Entry {
    let resident: Resident
    let stamp: Int
    var isOutdated: Bool { resident.stamp != stamp }
  }

  init(kind: FrameKind, pool: FramePool) { (self.kind, self.pool) = (kind, pool) }

  mutating func add(_ resident: Resident, _ prospect: Prospect) {
    let entry = Entry(resident: resident, stamp: resident.stamp)
    switch prospect {
    case .dismissed: append(entry, to: &dismissed)
    case .unplanned: append(entry, to: &unplanned)
    case .planned: append(entry, to: &planned)
    }
  }

  private func append(_ entry: Entry, to queue: inout Queue<Entry>) {
    queue.append(entry)
    if queue.count > 4 * pool.frameCount + 64 { queue.removeAll { $0.isOutdated } }
  }

  /// The resident that should give up its frame.
  ///
  /// Sweeps go forth and back, so for weights the least recently used frame is the one needed last.
  /// State is used once a step in the same order every step; there the least recently used frame is
  /// needed first, and the most recently used one last. Planned frames were added in the order of
  /// the plan.
  mutating func victim(orPlanned: Bool) -> Resident? {
    while let entry = dismissed.popFirst() {
      if !entry.isOutdated { return entry.resident }
    }
    while let entry = kind == .weights ? unplanned.popFirst() : unplanned.popLast() {
      if !entry.isOutdated { return entry.resident }
    }
    guard orPlanned else { return nil }
    while let entry = planned.popLast() {
      if !entry.isOutdated { return entry.resident }
    }
    return nil
  }

  /// Empties the planned queue: the plan is gone.
  mutating func takePlanned() -> [Resident] {
    var residents: [Resident] = []
    while let entry = planned.popFirst() {
      if !entry.isOutdated { residents.append(entry.resident) }
    }
    return residents
  }
}
