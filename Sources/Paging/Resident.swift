import Base
import PinnedMemory
import Storage

/// The two kinds of frames, and the planes that each holds.
enum FrameKind: CaseIterable {
  case weights, state

  var planes: PlaneSet { self == .weights ? .hi : .state }
}

/// A block with frames: what of it is in memory, and who needs it.
///
/// Shared by the pager and the one page that is out; both run on one thread.
final class Resident {
  let block: BlockID
  let geometry: RecordGeometry
  /// Newest, also before it is written.
  var history: BlockHistory

  private var weights: Frame?
  private var state: Frame?

  /// Planes whose bytes in memory are the block's newest.
  var valid: PlaneSet = [] { didSet { unchecked.formIntersection(valid) } }
  /// Those of them that came from the disk and whose checksums nobody has compared yet.
  var unchecked: PlaneSet = []
  /// Planes that a transfer in flight fills.
  var reading: PlaneSet = []
  /// Planes that a transfer in flight drains.
  var writing: PlaneSet = []
  /// Planes, in memory or being read, whose read was started by anticipation, and that no visit has
  /// used since.
  var readAhead: PlaneSet = []
  /// Anticipated in vain, and not wanted since.
  var isDismissed = false
  /// Visits that have been given frames and not yet been handed a page.
  var claims = 0
  /// A page is out.
  var isHeld = false
  /// The page that is out is a blank one: nothing may be read into it.
  var isBlank = false
  /// Newer than the disk, to be written by a commit.
  var isDirty = false
  /// That commit is of the frozen generation: to be written before it is changed again.
  var isFrozen = false
  /// Why the last read failed; thrown to the visit that needed it.
  var failure: StorageError?
  /// Of what its holder has changed, as far as taken. Only for what is written as soon as its holder
  /// gives it back.
  var sums: PieceSums?
  /// Changes whenever the frames become idle or cease to be: outdates entries of idle queues.
  var stamp = 0

  private let dropped: DroppedPages

  init(
    block: BlockID, geometry: RecordGeometry, history: BlockHistory, dropped: DroppedPages
  ) {
    self.block = block
    self.geometry = geometry
    self.history = history
    self.dropped = dropped
  }

  var isNeeded: Bool { claims > 0 || isHeld }

  /// For a visit, or a blank page.
  func claim() {
    claims += 1
    stamp += 1
    isDismissed = false
  }

  var inTransfer: PlaneSet { reading.union(writing) }

  /// The page is gone without `keep` or `writeBack`: what its holder may have changed is lost.
  func drop(changeable: PlaneSet, wasUpdating: Bool) {
    (isHeld, isBlank, sums) = (false, false, nil)
    valid.subtract(changeable)
    dropped.pages.append((self, wasUpdating))
  }
}

// MARK: Frames

extension Resident {
  func hasFrame(_ kind: FrameKind) -> Bool {
    switch kind {
    case .weights: weights != nil
    case .state: state != nil
    }
  }

  func give(_ frame: consuming Frame, _ kind: FrameKind) {
    precondition(!hasFrame(kind), "one frame of each kind")
    switch kind {
    case .weights: weights = consume frame
    case .state: state = consume frame
    }
  }

  /// Hands a frame back to its pool; what it held is no longer in memory.
  func release(_ kind: FrameKind) {
    precondition(inTransfer.isDisjoint(with: kind.planes), "a transfer owns its memory")
    valid.subtract(kind.planes)
    switch kind {
    case .weights: weights = nil
    case .state: state = nil
    }
  }

  /// The memory of adjacent planes of one frame.
  func memory(from first: Plane, through last: Plane) -> PinnedSlice {
    let byteCount =
      geometry.offset(of: last) + geometry.planeBytes(last) - geometry.offset(of: first)
    if first == .hi {
      precondition(last == .hi, "hi has a frame of its own")
      return slice(of: weights, offset: 0, byteCount: byteCount)
    }
    let offset = geometry.offset(of: first) - geometry.weightFrameBytes
    return slice(of: state, offset: offset, byteCount: byteCount)
  }

  func node(of plane: Plane) -> Int? {
    switch plane {
    case .hi: return node(of: weights)
    case .lo, .m, .v: return node(of: state)
    }
  }

  private func node(of frame: borrowing Frame?) -> Int? {
    switch frame {
    case .some(let frame): return frame.node
    case .none: return nil
    }
  }

  func memory(of plane: Plane) -> PinnedSlice { memory(from: plane, through: plane) }

  private func slice(of frame: borrowing Frame?, offset: Int, byteCount: Int) -> PinnedSlice {
    switch frame {
    case .some(let frame): return frame.slice(offset: offset, byteCount: byteCount)
    case .none: preconditionFailure("planes in use have a frame")
    }
  }
}

/// Pages that ended without `keep` or `writeBack`, until the pager hears of it.
final class DroppedPages {
  var pages: [(resident: Resident, wasUpdating: Bool)] = []
}
