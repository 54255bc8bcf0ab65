import Base
import Glibc
import Simulation
import Storage
import Testing

/// The process ends at every single operation of disk and manifest in turn: whatever was
/// acknowledged is there, with its bytes.
@Suite struct StoreCrashTests {
  /// Enough for the manifest to grow with the second generation.
  private let blocks = (0..<72).map { BlockID.dense($0) }
  private let first = 10

  private func open(_ directory: TestDirectory, _ disk: SimulatedDisk) throws -> Store {
    try Store.open(
      configuration(
        [directory.path], blocks: blocks.count, geometry: RecordGeometry(parametersPerBlock: 64)),
      disk: disk, create: true)
  }

  /// Two generations; tells which was the last to be acknowledged.
  private func work(_ store: Store, _ acknowledged: inout Int) throws {
    let mover = try RecordMover(store)
    for block in blocks.prefix(first) { try mover.write(block, 1) }
    try store.commit(step: 1, payload: [])
    acknowledged = 1
    for block in blocks { try mover.write(block, 2, step: 2) }
    try store.commit(step: 2, payload: [])
    acknowledged = 2
  }

  private func check(_ store: Store, _ acknowledged: Int) throws {
    let step = store.generation?.step ?? 0
    #expect(step >= acknowledged)
    let expected = [0, first, blocks.count][step]
    #expect(store.writtenBlocks == Array(blocks.prefix(expected)))
    let mover = try RecordMover(store)
    for block in store.writtenBlocks {
      let (bytes, damage) = try mover.read(block)
      #expect(damage.isEmpty)
      #expect(bytes == RecordMover.bytes(UInt8(step), store.geometry))
    }
  }

  @Test(arguments: SimulatedMachine.Ending.allCases)
  func everyOperationCanBeTheLast(_ ending: SimulatedMachine.Ending) throws {
    for operations in 0... {
      let directory = try TestDirectory(
        in: unsafe access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp")
      let machine = SimulatedMachine(seed: UInt64(operations), root: directory.path)
      let disk = machine.start()
      machine.end(after: operations, by: ending)
      var acknowledged = 0
      let failure = Result { try work(open(directory, disk), &acknowledged) }
      if !machine.hasEnded {
        try failure.get()
        #expect(operations > 150)
        return
      }
      // After the second commit the process may end while it closes, unnoticed.
      if acknowledged < 2 { #expect(throws: (any Error).self) { try failure.get() } }
      do {
        try check(open(directory, machine.start()), acknowledged)
      } catch {
        Issue.record("\(ending) after \(operations) operations: \(error)")
      }
    }
  }
}
