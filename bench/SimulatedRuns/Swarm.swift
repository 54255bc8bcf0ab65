import Base
import Glibc
package import Simulation

/// Draws one after the other from the stream of a seed.
package struct Dice {
  private let random: Philox
  private let stream: UInt32
  private var count: UInt32 = 0

  package init(seed: UInt64, stream: Int) {
    random = Philox(seed: seed, purpose: .test)
    self.stream = UInt32(stream)
  }

  /// A number in 0..<bound.
  package mutating func below(_ bound: Int) -> Int {
    count += 1
    return random.below(bound, 0x5157_4152, stream, count)
  }

  package mutating func chance(_ part: Int, in whole: Int) -> Bool { below(whole) < part }
  package mutating func pick<Element>(_ choices: [Element]) -> Element {
    choices[below(choices.count)]
  }

  /// A number in 1...2^bits, of each order of magnitude as often as of any other.
  package mutating func magnitude(bits: Int) -> Int {
    let limit = 1 << (1 + below(bits))
    return 1 + below(limit)
  }
}

/// What one seed decides of a run: its size, what drives it, and what it is up against. Each seed
/// has some kinds of trouble and not others, so that rare ones are not always hidden by frequent
/// ones.
package struct Swarm: Sendable, CustomStringConvertible {
  /// What may go wrong beside the end of the process.
  package enum Trouble: String, CaseIterable, Sendable {
    /// EIO that passes when the engine asks again.
    case transientErrors
    /// EIO or ENOSPC of an open, a read, a write or a sync.
    case errors
    /// A flipped bit on the way from the drive: right when it is read again.
    case bitFlips
    /// A flipped bit on the drive.
    case rot
    case databaseFull
    case databaseErrors
  }

  package let seed: UInt64
  package let model: TinyModel
  package let steps: Int
  package let pathCount: Int
  package let threads: Int
  /// Bytes beyond the least budget; nil: every block stays in memory.
  package let budgetBeyondLeast: Int?
  package let checkpointEvery: Int
  /// Generations that can be gone back to.
  package let keep: Int
  /// The process that is given all paths; those before it have the first alone.
  package let growsAt: Int
  /// 0: never.
  package let evaluationEvery: Int
  package let reapsLateMax: Int
  package let endings: [SimulatedMachine.Ending]
  package let troubles: Set<Trouble>
  /// Processes that may come to harm; those after them are left in peace.
  package let troubledLives: Int

  package init(seed: UInt64) {
    var dice = Dice(seed: seed, stream: 0)
    self.seed = seed
    model = dice.pick(TinyModel.allCases)
    steps = 6 + dice.below(TinyModel.stepsMax - 5)
    pathCount = 1 + dice.below(3)
    threads = 1 + dice.below(2)
    budgetBeyondLeast = dice.pick([0, 0, 1 << 17, 1 << 19, 1 << 20, nil])
    checkpointEvery = 1 + dice.below(4)
    evaluationEvery = dice.pick([0, 0, 2, 3])
    reapsLateMax = dice.pick([0, 1, 4, 16, 60])
    endings = dice.pick([[.powerFailure], [.powerFailure], [.kill], [.powerFailure, .kill]])
    // Decay is often written over before anybody reads it.
    troubles = Set(Trouble.allCases.filter { dice.chance($0 == .rot ? 2 : 1, in: 4) })
    troubledLives = 1 + dice.below(5)
    keep = dice.pick([1, 1, 2, 3])
    growsAt = dice.pick([1, 1, 2, 3])
  }

  package var description: String {
    let budget = budgetBeyondLeast.map { "least budget + \($0 >> 10) KiB" } ?? "resident"
    let troubles = Trouble.allCases.filter(troubles.contains).map(\.rawValue)
    return "\(model), \(steps) steps, \(pathCount) paths, \(threads) threads, \(budget), "
      + "commit every \(checkpointEvery), \(keep) kept, grows at process \(growsAt), evaluation every \(evaluationEvery), "
      + "up to \(reapsLateMax) looks late, \(troubledLives) processes that may end by "
      + "\(endings.map(\.rawValue).joined(separator: " or ")), "
      + "troubles: \(troubles.isEmpty ? "none" : troubles.joined(separator: " "))"
  }
}

/// What one process of a run is up against.
struct Life {
  enum Moment {
    case opening
    /// Before a step that this process runs, counted from 0.
    case step(Int)
    /// Before one of its commits, counted from 0.
    case commit(Int)
    /// When such a one is made durable.
    case errand(Int)
  }

  var conditions = SimulatedMachine.Conditions()
  /// When the end is set, how many operations lie between, and which end it is.
  var end: (moment: Moment, after: Int, by: SimulatedMachine.Ending)?
  /// The steps of this process, counted from 0, before which the drive decays.
  var rotBefore: Set<Int> = []
  var dice: Dice

  /// - Parameter number: of the process, from 1.
  init(_ swarm: Swarm, number: Int) {
    dice = Dice(seed: swarm.seed, stream: number)
    conditions.reapsLateMax = swarm.reapsLateMax
    guard number <= swarm.troubledLives else { return }
    if dice.chance(7, in: 8) {
      let ending = dice.pick(swarm.endings)
      switch dice.below(6) {
      case 0: end = (.opening, dice.below(90), ending)
      case 1, 2: end = (.step(dice.below(3)), dice.magnitude(bits: 9), ending)
      case 3: end = (.commit(dice.below(2)), dice.magnitude(bits: 9), ending)
      default: end = (.errand(dice.below(2)), dice.below(40), ending)
      }
    }
    for trouble in Swarm.Trouble.allCases where swarm.troubles.contains(trouble) {
      add(trouble)
    }
  }

  private mutating func add(_ trouble: Swarm.Trouble) {
    switch trouble {
    case .transientErrors:
      for _ in 0..<1 + dice.below(4) {
        conditions.faults.append(
          .transient(transfer: dice.magnitude(bits: 12), times: 1 + dice.below(3)))
      }
    case .errors:
      conditions.faults.append(
        .call(
          dice.magnitude(bits: 12), errno: dice.pick([EIO, ENOSPC]), isPersistent: false))
    case .bitFlips:
      for _ in 0..<1 + dice.below(3) {
        conditions.faults.append(.bitFlip(read: dice.magnitude(bits: 11)))
      }
    case .rot: for _ in 0..<1 + dice.below(3) { rotBefore.insert(dice.below(6)) }
    case .databaseFull: conditions.databaseFaults.append(.full(write: dice.magnitude(bits: 7)))
    case .databaseErrors:
      let number = dice.magnitude(bits: 6)
      conditions.databaseFaults.append(dice.chance(1, in: 2) ? .write(number) : .sync(number))
    }
  }
}
