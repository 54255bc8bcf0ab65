import Base

/// What a commit replaced: a block and its record until then, nil when it was virgin.
struct Superseded: Sendable {
  let block: BlockID
  let record: Record?
}

/// A generation that can be gone back to.
struct KeptGeneration: Sendable {
  let generation: Generation
  /// What its commit replaced, as long as an older generation is kept that needs it.
  var superseded: [Superseded]
}

/// Which slot holds which version of which block: copy on write as bookkeeping, without I/O.
///
///     open       written since the last freeze; overwritten at will
///     closing    of a frozen generation that is being made durable
///     committed  of the last durable generation, with what older kept ones need of before
///
/// A slot is free when none of them names it. The first write of a block after a freeze takes a
/// free slot, later ones overwrite that one.
struct RecordTable {
  private(set) var committed: [BlockID: Record]
  private(set) var closing: [BlockID: Record] = [:]
  private(set) var open: [BlockID: Record] = [:]
  /// Durable generations, the oldest first.
  private(set) var kept: [KeptGeneration]
  private var slots: SlotTable
  /// Free slots that writes still to come of the closing generation need.
  private var reserved = 0

  /// - Returns: nil when two records share a slot or one has none on its path.
  init?(committed: [BlockID: Record], kept: [KeptGeneration], slots counts: [Int]) {
    let old = kept.flatMap(\.superseded).compactMap(\.record)
    guard let slots = SlotTable(slots: counts, used: (committed.values + old).map(\.slot)) else {
      return nil
    }
    self.committed = committed
    self.kept = kept
    self.slots = slots
  }

  var freeCount: Int { slots.freeCount }

  /// Whether no record of any generation is on a path.
  func isUnused(path: Int) -> Bool { slots.isUnused(path: path) }

  /// The newest version of `block`; nil when it is virgin.
  func newest(_ block: BlockID) -> Record? {
    open[block] ?? closing[block] ?? committed[block]
  }

  /// Whether the newest version of `block` belongs to no durable generation.
  func isUncommitted(_ block: BlockID) -> Bool {
    open[block] != nil || closing[block] != nil
  }

  /// Whether the newest version of `block` is that of the generation on its way.
  func isClosing(_ block: BlockID) -> Bool { open[block] == nil && closing[block] != nil }

  /// All blocks that were ever written, in ascending order.
  var blocks: [BlockID] {
    Set(committed.keys).union(closing.keys).union(open.keys).sorted()
  }

  /// Makes the next version of `block`, of the open generation or of the closing one.
  /// - Returns: its slot; nil when none is free until the closing generation is durable.
  mutating func write(
    _ block: BlockID, toClosing: Bool, _ checksums: PlaneValues<UInt64>, _ history: BlockHistory
  ) -> Slot? {
    let taken = toClosing ? closing[block]?.slot : open[block]?.slot
    guard let slot = taken ?? takeSlot(toClosing: toClosing) else { return nil }
    let record = Record(slot: slot, checksums: checksums, history: history)
    if toClosing {
      precondition(open[block] == nil, "a frozen version is older than the open one")
      closing[block] = record
    } else {
      open[block] = record
    }
    return slot
  }

  private mutating func takeSlot(toClosing: Bool) -> Slot? {
    if toClosing {
      precondition(reserved > 0, "as many late writes as were announced")
      reserved -= 1
      return slots.take()
    }
    return slots.freeCount > reserved ? slots.take() : nil
  }
}

// MARK: Generations

extension RecordTable {
  /// The open generation becomes the closing one.
  /// - Parameter late: blocks whose version of this generation is still to be written.
  mutating func freeze(late: [BlockID]) {
    precondition(closing.isEmpty && reserved == 0, "one generation closes at a time")
    reserved = late.count { open[$0] == nil }
    precondition(reserved <= slots.freeCount, "a slot for every block of a generation")
    swap(&open, &closing)
  }

  /// Whether there is a slot for each of these blocks in the open generation.
  func hasRoom(for late: [BlockID]) -> Bool {
    late.count { open[$0] == nil } <= slots.freeCount
  }

  /// The closing generation is durable as `generation`.
  /// - Parameters:
  ///   - replaced: what it replaces, in the order of the blocks: which slots are free next is the
  ///     same in every process.
  ///   - dropped: oldest kept generations that are none any more.
  mutating func commit(_ generation: Generation, replaced: [Superseded], dropped: Int) {
    precondition(replaced.count == closing.count, "every block of a generation replaces something")
    if replaced.count(where: { $0.record != nil }) == committed.count {
      // Every block that had a record has a new one.
      committed = closing
    } else {
      for (block, record) in closing { committed[block] = record }
    }
    closing = [:]
    reserved = 0
    kept.append(KeptGeneration(generation: generation, superseded: replaced))
    drop(dropped)
  }

  /// Forgets the oldest generations and frees what only they needed.
  mutating func drop(_ count: Int) {
    precondition(count < kept.count, "the last generation stays")
    for index in 0...count {
      for old in kept[index].superseded {
        if let record = old.record { slots.putBack(record.slot) }
      }
      kept[index].superseded = []
    }
    kept.removeFirst(count)
  }

  /// Lets go of the only generation's records of some blocks: it is `generation` from now on.
  mutating func forget(_ blocks: [BlockID], _ generation: Generation) {
    precondition(kept.count == 1 && open.isEmpty && closing.isEmpty, "one generation, at rest")
    for block in blocks {
      if let record = committed.removeValue(forKey: block) { slots.putBack(record.slot) }
    }
    kept[0] = KeptGeneration(generation: generation, superseded: [])
  }

  /// Goes back from the last generation to the one before it. Nothing is open.
  mutating func rollBack() {
    precondition(kept.count > 1 && open.isEmpty && closing.isEmpty, "an older one is kept")
    for old in kept.removeLast().superseded {
      if let newer = committed[old.block] { slots.putBack(newer.slot) }
      committed[old.block] = old.record
    }
  }

  /// The newest kept generation that does not have the last committed version of `block`.
  func generation(without block: BlockID) -> Generation? {
    for index in kept.indices.dropFirst().reversed()
    where kept[index].superseded.contains(where: { $0.block == block }) {
      return kept[index - 1].generation
    }
    return nil
  }
}
