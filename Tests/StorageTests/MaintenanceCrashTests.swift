import Base
import DirectIO
import Foundation
import Glibc
import Simulation
import Storage
import Testing

/// The process ends at every single operation of disk and manifest while a store grows, goes back,
/// forgets or moves: nothing is lost, and the same can be done again.
///
/// What the program does to files by itself, such as renaming them, is durable at once here and no
/// operation; `tools/torture --maintenance` kills the real program at those, and copies stores.
@Suite struct MaintenanceCrashTests {
  enum Task: String, CaseIterable, Sendable {
    case addDirectory, keepMore, rollBack, drop, drain, drainHome, compact, forget
  }

  /// What is done after a restart: the same task, or nothing but opening the store.
  enum Then: CaseIterable, Sendable { case again, open }

  @Test(arguments: Task.allCases, SimulatedMachine.Ending.allCases)
  func everyOperationCanBeTheLast(_ task: Task, _ ending: SimulatedMachine.Ending) throws {
    for then in Then.allCases {
      var failures: [String] = []
      var operations = 0
      while try !Trial(task, seed: operations).run(operations, ending, then, &failures) {
        operations += 1
      }
      #expect(operations > 5)
      #expect(
        failures.isEmpty,
        "\(failures.count) of \(operations), then \(then): \(failures.prefix(3))")
    }
  }
}

/// A store with two generations, a task and what may be left of both.
private final class Trial {
  typealias Task = MaintenanceCrashTests.Task

  private let task: Task
  private let root: TestDirectory
  private let machine: SimulatedMachine
  private let paths: [String]
  private static let all = (0..<8).map { BlockID.dense($0) }
  /// Those that the store is known to have.
  private var blocks = all
  private let forgotten: Set = [all[2], all[5]]
  private let geometry = RecordGeometry(parametersPerBlock: 64)
  /// Lengths of the real data files.
  private var realBytes: [String: Int] = [:]

  init(_ task: Task, seed: Int) throws {
    self.task = task
    root = try TestDirectory(in: unsafe access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp")
    machine = SimulatedMachine(seed: UInt64(seed), root: root.path)
    paths = ["a", "b", "c"].map { [path = root.path] in "\(path)/\($0)" }
    try make(machine.start())
  }

  /// All blocks with 1, then the even ones with 2, over the first two directories.
  private func make(_ disk: SimulatedDisk) throws {
    let store = try open(Array(paths[..<2]), keep: 2, disk)
    let mover = try RecordMover(store)
    for block in blocks { try mover.write(block, 1) }
    try store.commit(step: 1, payload: [])
    for block in blocks where block.index % 2 == 0 { try mover.write(block, 2, step: 2) }
    try store.commit(step: 2, payload: [])
    // Real files with the same bytes, to be cut and deleted.
    for path in machine.medium.paths {
      guard let bytes = machine.medium.contents(of: path) else { continue }
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      realBytes[path] = bytes.count
    }
  }

  /// - Returns: whether the task came to its end before the process did.
  func run(
    _ operations: Int, _ ending: SimulatedMachine.Ending, _ then: MaintenanceCrashTests.Then,
    _ failures: inout [String]
  ) throws -> Bool {
    let disk = machine.start()
    machine.end(after: operations, by: ending)
    let outcome = Result { try work(disk) }
    let isDone = !machine.hasEnded
    if isDone { try outcome.get() }
    do {
      cutMedium()
      if then == .again { try workAgain(machine.start()) }
      cutMedium()
      try check(isDone: isDone || then == .again)
    } catch {
      failures.append("\(ending) after \(operations) operations: \(error)")
    }
    return isDone
  }

  private func open(_ paths: [String], keep: Int, _ disk: SimulatedDisk) throws -> Store {
    try Store.open(
      configuration(paths, blocks: blocks.count, geometry: geometry, keep: keep), disk: disk,
      create: true)
  }

  /// The directories that are named and the generations that are kept, when the task has begun.
  private var named: [String] { task == .addDirectory ? paths : Array(paths[..<2]) }
  private var keep: Int { task == .keepMore ? 4 : task == .drop ? 1 : 2 }

  private func work(_ disk: SimulatedDisk) throws {
    func alone() throws -> Store { try Store.openAlone(paths: named, disk: disk) }
    switch task {
    case .addDirectory, .keepMore: _ = try open(named, keep: keep, disk)
    case .rollBack: try alone().rollBack(to: 1)
    case .drop: _ = try open(named, keep: keep, disk).dropUnread()
    case .drain: try alone().drain(paths[1])
    case .drainHome: try alone().drain(paths[0])
    case .compact: _ = try alone().compact()
    case .forget:
      let store = try alone()
      if store.description.blocks == Self.all.count { try store.forget(forgotten, payload: [7]) }
    }
  }

  /// What was done to its end may be refused.
  private func workAgain(_ disk: SimulatedDisk) throws {
    do {
      try work(disk)
    } catch StorageError.notAPath where task == .drain || task == .drainHome {
      // Nothing to be done: `check` looks whether nothing is left.
    }
  }

  /// What was cut of the real data files is missing from those of the drive as well.
  private func cutMedium() {
    for (path, before) in realBytes {
      var status = stat()
      guard unsafe stat(path, &status) == 0 else { continue }
      let now = Int(status.st_size)
      if now < before { machine.medium.truncate(path, to: now) }
      realBytes[path] = now
    }
  }

  // MARK: Checks

  /// Records of every generation that may be asked for, before and after another commit.
  private func check(isDone: Bool) throws {
    // Once it is known what was forgotten, the rest is as after any other task.
    if task == .forget,
      try Store.openAlone(paths: named, disk: machine.start()).description.blocks < blocks.count
    {
      blocks.removeAll(where: forgotten.contains)
    }
    try require(task != .forget || !isDone || blocks.count == 6, "blocks are forgotten")
    let store = try open(named, keep: keep, machine.start())
    let steps = store.generations.map(\.step)
    try require(possibleSteps(isDone).contains(steps), "generations \(steps)")
    try require(store.generations.last?.payload == (blocks.count == 6 ? [7] : []), "payload")
    try expect(store) { steps.last == 1 ? 1 : $0.index % 2 == 0 ? 2 : 1 }
    if isDone, let drained = [Task.drain: paths[1], .drainHome: paths[0]][task] {
      for name in ["pages.bin", "manifest.sqlite", "store.lock"] {
        try require(unsafe access("\(drained)/\(name)", F_OK) != 0, "\(name) is left")
      }
    }
    try goOn(store)
  }

  private func possibleSteps(_ isDone: Bool) -> [[Int]] {
    switch task {
    case .rollBack: isDone ? [[1]] : [[1], [1, 2]]
    case .drop, .compact, .forget: isDone ? [[2]] : [[2], [1, 2]]
    default: [[1, 2]]
    }
  }

  /// The next generation overwrites nothing of those that are kept.
  private func goOn(_ store: Store) throws {
    let mover = try RecordMover(store)
    let before = store.generations.map(\.step)
    for block in blocks { try mover.write(block, 3, step: 3) }
    let free = store.freeSlotCount
    try require(free >= 0, "slots")
    try store.commit(step: 3, payload: [])
    try expect(store) { _ in 3 }
    try require(store.scrub().isWhole, "generations \(before) and 3 are whole")
  }

  private func expect(_ store: Store, _ value: (BlockID) -> UInt8) throws {
    try require(store.writtenBlocks == blocks, "blocks")
    let mover = try RecordMover(store)
    for block in blocks {
      let (bytes, damage) = try mover.read(block)
      let isRight = damage.isEmpty && bytes == RecordMover.bytes(value(block), geometry)
      try require(isRight, "\(block)")
    }
  }

  private func require(_ condition: Bool, _ what: String) throws {
    if !condition { throw Unexpected(what: what) }
  }

  private struct Unexpected: Error { let what: String }
}
