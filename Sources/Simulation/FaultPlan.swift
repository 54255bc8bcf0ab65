/// Something that goes wrong once, or from then on. Numbers count from 1.
package enum Fault: Hashable, Sendable {
  /// The n-th call (of `openFile`, `submit`, `sync`, together) fails with an errno; if persistent,
  /// so do all later ones. Persistent ENODEV and then `crash` is a power cut.
  case call(Int, errno: Int32, isPersistent: Bool)
  /// The n-th transfer gives EIO so many times before it succeeds. More often than the engines
  /// repeat (3) is a failure.
  case transient(transfer: Int, times: Int)
  /// The n-th read delivers one bit, chosen by the seed, turned over. The medium is intact.
  case bitFlip(read: Int)
  /// The n-th write is acknowledged and never arrives.
  case lostWrite(write: Int)
  /// The n-th file to be created does not fit.
  case noSpace(create: Int)
}

/// Counts what happens and says which of it fails.
struct FaultCounter {
  private let faults: [Fault]
  private(set) var fired: [Fault] = []
  private var calls = 0
  private var transfers = 0
  private var reads = 0
  private var writes = 0
  private var creates = 0

  init(_ faults: [Fault]) { self.faults = faults }

  /// What is wrong with one transfer.
  struct TransferFault {
    var errno: Int32?
    var repetitions = 0
    var flipsBit = false
    var isLost = false
  }

  /// - Returns: the errno of the next call, or nil when it succeeds.
  mutating func nextCall() -> Int32? {
    calls += 1
    for case .call(let number, let errno, let isPersistent) in faults {
      guard number == calls || isPersistent && number < calls else { continue }
      if number == calls { fired.append(.call(number, errno: errno, isPersistent: isPersistent)) }
      return errno
    }
    return nil
  }

  /// - Returns: whether the next file to be created fits.
  mutating func nextCreateFits() -> Bool {
    creates += 1
    return !fires(.noSpace(create: creates))
  }

  /// - Parameter failure: what `nextCall` has said of its submission.
  mutating func nextTransfer(isRead: Bool, failure: Int32?) -> TransferFault {
    transfers += 1
    var fault = TransferFault(errno: failure)
    for case .transient(let number, let times) in faults where number == transfers {
      fault.repetitions = times
      fired.append(.transient(transfer: number, times: times))
    }
    if isRead {
      reads += 1
      fault.flipsBit = fires(.bitFlip(read: reads))
    } else {
      writes += 1
      fault.isLost = fires(.lostWrite(write: writes))
    }
    return fault
  }

  private mutating func fires(_ fault: Fault) -> Bool {
    guard faults.contains(fault) else { return false }
    fired.append(fault)
    return true
  }
}
