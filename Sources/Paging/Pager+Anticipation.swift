import Base
import DirectIO
import PinnedMemory
import Storage

/// Reads for visits that will only probably come: in a forward sweep the experts of a layer are known
/// when its gate has decided, and until then the drive would have nothing to do.
///
///     visits   | planned ... | anticipated ... |       admitted strictly in this order
///                            ^ plan: what is anticipated is withdrawn, what is wanted comes here
///
/// Anticipated visits claim frames as planned ones do, after all of those, and take only frames that
/// nobody is known to need. None is handed out. When the owner plans what it really visits, their
/// claims end; a visit that comes finds its planes in memory or being read, and frames of blocks that
/// are not wanted are the first to be evicted. What is computed never depends on any of this.
///
/// A read that turns out to be unwanted is left to end, and is no less urgent than those of planned
/// visits that were queued after it; whoever is waited for overtakes both (`promoteTransfers`). The guesses
/// are good: in the steady state 0.4 % of the bytes read were not wanted, and gates were waited for in less
/// than 0.5 % of a step (quickstart in 400 MiB). No cancelling and no priority between the two, which every
/// disk would have to know and every guess that comes true to be raised from, could save more than that.
extension Pager {
  /// Takes the anticipated visits off the list, with their claims.
  mutating func withdrawAnticipated() -> [Visit] {
    while admitted + (gathering == nil ? 0 : 1) > plannedCount, revokeLastClaim() {}
    var withdrawn: [Visit] = []
    while anticipated > 0, let last = visits.popLast() {
      anticipated -= 1
      removeUnclaimed(last.visit.block)
      withdrawn.append(last.visit)
    }
    return withdrawn.reversed()
  }

  /// Appends visits that will probably come, as far as there is anything to read for them or to keep.
  mutating func anticipate(_ likely: [Visit]) {
    for visit in likely where isKnown(visit.block) {
      append(visit, isUnplanned: false)
      anticipated += 1
    }
  }

  private func isKnown(_ block: BlockID) -> Bool {
    residents[block] != nil || store.record(of: block) != nil
  }

  /// After its anticipated visit was withdrawn: lets go of a block unless another one will come.
  mutating func dismiss(_ block: BlockID) {
    guard unclaimedVisits[block] == nil, let resident = residents[block], !resident.isNeeded else {
      return
    }
    resident.isDismissed = true
    countUnused(resident, resident.valid)
    settle(resident)
  }

  /// Whether one more visit may be anticipated: so many frames stay that visits nobody thought of
  /// need not wait for reads of others.
  func mayAnticipate(_ planes: PlaneSet) -> Bool {
    let claimed = admitted - plannedCount + Self.nearVisits
    return (!planes.contains(.hi) || claimed < weights.pool.frameCount)
      && (planes.isDisjoint(with: .state) || claimed < state.pool.frameCount)
  }

  /// Starts the reads of an anticipated visit.
  mutating func readAhead(_ resident: Resident, _ planes: PlaneSet) {
    resident.readAhead.formUnion(startReads(resident, planes, .prefetch))
  }

  /// Counts those of `planes` that were read ahead and that no visit will find.
  mutating func countUnused(_ resident: Resident, _ planes: PlaneSet) {
    let unused = resident.readAhead.intersection(planes)
    guard !unused.isEmpty else { return }
    resident.readAhead.subtract(unused)
    counters.anticipatedUnusedBytes += byteCount(unused)
  }

  func byteCount(_ planes: PlaneSet) -> Int {
    planes.planes.reduce(0) { $0 + store.geometry.planeBytes($1) }
  }
}

extension Resident {
  func isReadAhead(_ planes: PlaneSet) -> Bool { !readAhead.isDisjoint(with: planes) }
}
