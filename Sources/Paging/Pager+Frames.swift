import Base
import DirectIO
import PinnedMemory
import Storage

/// Who gets which frame.
extension Pager {
  /// Visits this near may take frames that later planned visits will need; farther ones wait for
  /// frames that nobody is known to need. So prefetching never costs more than it saves.
  static let nearVisits = 2

  /// The resident of `block`, made without frames where there is none.
  mutating func resident(of block: BlockID) -> Resident {
    if let resident = residents[block] { return resident }
    let history = store.record(of: block)?.history ?? BlockHistory()
    let resident = Resident(
      block: block, geometry: store.geometry, history: history, dropped: dropped)
    residents[block] = resident
    return resident
  }

  /// Gives frames to planned visits and starts their reads, strictly in order, as far as it goes.
  mutating func admit() {
    let firstTag = nextTag
    // What was submitted goes to the kernel together, and now: nobody may look for a long time.
    defer { if nextTag != firstTag { store.disk.start() } }
    while mayAdmit, admitted < visits.count {
      let visit = visits[admitted].visit
      let isAnticipated = admitted >= plannedCount
      guard !isAnticipated || mayAnticipate(visit.planes) else {
        mayAdmit = false
        return
      }
      let resident = gathering ?? claim(visit.block)
      gathering = resident
      let isNear = admitted < Self.nearVisits && !isAnticipated
      guard provideFrames(resident, visit.planes, orPlanned: isNear) else {
        mayAdmit = false
        return
      }
      gathering = nil
      visits[admitted].resident = resident
      if isAnticipated {
        readAhead(resident, visit.planes)
      } else {
        visits[admitted].read.formUnion(
          startReads(
            resident, visit.planes, admitted == 0 ? .demand : .prefetch,
            isCheckedLater: isCheckedLater(visit)))
      }
      admitted += 1
    }
  }

  private mutating func claim(_ block: BlockID) -> Resident {
    removeUnclaimed(block)
    let resident = resident(of: block)
    resident.claim()
    return resident
  }

  mutating func removeUnclaimed(_ block: BlockID) {
    let left = (unclaimedVisits[block] ?? 0) - 1
    precondition(left >= 0, "every claim is of a planned visit")
    unclaimedVisits[block] = left == 0 ? nil : left
  }

  /// Takes frames and claim away from the last visit that has a claim; false when none has.
  mutating func revokeLastClaim() -> Bool {
    let resident: Resident
    if let gathering {
      resident = gathering
      self.gathering = nil
    } else if admitted > 0, let last = visits[admitted - 1].resident {
      admitted -= 1
      visits[admitted].resident = nil
      resident = last
    } else {
      return false
    }
    unclaimedVisits[resident.block, default: 0] += 1
    resident.claims -= 1
    settle(resident)
    return true
  }

  /// The page of the first visit, which is admitted; nil while transfers keep it from being handed
  /// out.
  mutating func firstPage() throws(StorageError) -> Page? {
    guard let resident = visits[0].resident else {
      preconditionFailure("an admitted visit has a resident")
    }
    let visit = visits[0].visit
    precondition(!resident.isHeld, "a block has one holder")
    if let failure = resident.failure {
      removeFirstVisit(resident)
      settle(resident)
      throw failure
    }
    // Again, because a page of this block may have been dropped meanwhile.
    visits[0].read.formUnion(
      startReads(resident, visit.planes, .demand, isCheckedLater: isCheckedLater(visit)))
    visits[0].read.formUnion(
      checkNow(
        resident,
        visit.isCheckedByHolder
          ? visit.planes.intersection(PieceSums.scattered(store.geometry.format)) : visit.planes))
    guard resident.reading.isDisjoint(with: visit.planes) else {
      promoteTransfers(of: resident)
      return nil
    }
    // What is being written, or has yet to be as it was frozen, may be read, not changed.
    if visit.isUpdate, resident.isFrozen { writeFrozen(resident) }
    guard !visit.isUpdate || resident.writing.isEmpty else {
      promoteTransfers(of: resident)
      return nil
    }

    let virgin = visit.planes.subtracting(resident.valid)
    let found = visit.planes.subtracting(virgin).subtracting(visits[0].read)
      .subtracting(resident.readAhead)
    resident.readAhead.subtract(visit.planes)
    counters.visits += 1
    counters.bytesFound += byteCount(found)
    if !virgin.isEmpty {
      counters.virginVisits += 1
    } else if found == visit.planes {
      counters.hits += 1
    }
    removeFirstVisit(resident)
    return Page(
      resident: resident, visit: visit, virgin: virgin, isWrittenSoon: !isResident)
  }

  /// Not so records of a generation that is being made durable: that one is given up when they are found
  /// damaged in time.
  private func isCheckedLater(_ visit: Visit) -> Bool {
    visit.isCheckedByHolder && !store.isClosing(visit.block)
  }

  private mutating func removeFirstVisit(_ resident: Resident) {
    _ = visits.popFirst()
    admitted -= 1
    resident.claims -= 1
    mayAdmit = true
  }

  /// Gives `resident` the frames that `planes` need; false when they are not to be had now.
  mutating func provideFrames(
    _ resident: Resident, _ planes: PlaneSet, orPlanned: Bool
  ) -> Bool {
    if !planes.isDisjoint(with: .state), !resident.hasFrame(.state) {
      guard let frame = takeFrame(.state, orPlanned) else { return false }
      resident.give(frame, .state)
    }
    if planes.contains(.hi), !resident.hasFrame(.weights) {
      guard let frame = takeFrame(.weights, orPlanned) else { return false }
      resident.give(frame, .weights)
    }
    return true
  }

  private mutating func takeFrame(_ kind: FrameKind, _ orPlanned: Bool) -> Frame? {
    let pool = kind == .weights ? weights.pool : state.pool
    if let frame = pool.take() { return frame }
    let victim =
      kind == .weights ? weights.victim(orPlanned: orPlanned) : state.victim(orPlanned: orPlanned)
    guard let victim else { return nil }
    countUnused(victim, kind.planes)
    victim.release(kind)
    forgetIfEmpty(victim)
    return pool.take()
  }

  /// Puts the frames of a resident that nobody needs where they can be evicted. Called whenever
  /// something about it has ended: a page, a claim, a transfer.
  mutating func settle(_ resident: Resident) {
    mayAdmit = true
    guard !resident.isNeeded else { return }
    resident.failure = nil
    resident.stamp += 1
    let prospect: FrameShelf.Prospect =
      unclaimedVisits[resident.block] != nil
      ? .planned : resident.isDismissed ? .dismissed : .unplanned
    for kind in FrameKind.allCases where resident.hasFrame(kind) {
      guard resident.inTransfer.isDisjoint(with: kind.planes) else { continue }
      if resident.valid.isDisjoint(with: kind.planes) {
        resident.release(kind)
      } else if !resident.isDirty {
        switch kind {
        case .weights: weights.add(resident, prospect)
        case .state: state.add(resident, prospect)
        }
      }
    }
    forgetIfEmpty(resident)
  }

  /// A resident without frames is one no more; what is known of its block is in the store.
  private mutating func forgetIfEmpty(_ resident: Resident) {
    guard !resident.isNeeded, !resident.hasFrame(.weights), !resident.hasFrame(.state) else {
      return
    }
    precondition(!resident.isDirty, "dirty pages stay")
    residents[resident.block] = nil
  }

  /// Hears of pages that ended without `keep` or `writeBack`.
  mutating func collectDropped() {
    guard !dropped.pages.isEmpty else { return }
    let pages = dropped.pages
    dropped.pages = []
    for page in pages {
      if page.wasUpdating { failure = failure ?? .abandoned(page.resident.block) }
      // Its newest bytes are gone; `failure` keeps the older ones on disk from being committed.
      page.resident.isDirty = page.resident.isDirty && page.resident.valid == store.geometry.planes
      settle(page.resident)
    }
  }
}
