import DirectIO
import Glibc
import PinnedMemory
import Planning
import Simulation
import Testing

/// On the simulated disk, which traps when two requests under way share memory or places.
@Suite struct LoadGeneratorTests {
  private let unit = 8192
  private let fileBytes = 64 * 8192

  private func world(
    windowRequests: Int, _ load: Load, faults: [Fault] = []
  ) throws -> (SimulatedDisk, PinnedSlice, LoadGenerator) {
    let disk = SimulatedDisk(SimulatedMedium(seed: 5), seed: 6, faults: faults)
    let file = try disk.openFile("/a", byteCount: fileBytes, .create)
    let window = unsafe PinnedSlice(
      address: .allocate(byteCount: windowRequests * unit, alignment: 4096),
      byteCount: windowRequests * unit)
    unsafe window.bytes.initializeMemory(as: UInt8.self, repeating: 7)
    let plan = AccessPlan(load, region: 0..<fileBytes, seed: 1)
    return (disk, window, LoadGenerator(disk, file, window: window, load, plan))
  }

  @Test(arguments: [0.0, 1.0], [(1, 1), (4, 4), (4, 9), (32, 32)])
  func movesWhatItWasAskedAndCounts(_ share: Double, _ shape: (depth: Int, slots: Int)) throws {
    let load = Load(.sequential, writeShare: share, requestBytes: unit, queueDepth: shape.depth)
    var (disk, window, generator) = try world(windowRequests: shape.slots, load)
    defer { unsafe window.address.deallocate() }
    var latencies = Latencies()
    for _ in 0..<2 {
      let tally = try generator.run(.bytes(fileBytes), &latencies)
      #expect(tally.reads == (share == 0 ? 64 : 0) && tally.writes == (share == 1 ? 64 : 0))
      #expect(tally.readBytes + tally.writtenBytes == fileBytes)
      #expect(tally.nanoseconds > 0 && tally.gigabytesPerSecond > 0)
    }
    #expect(disk.inFlight == 0)
    #expect(disk.counters.bytesRead == (share == 0 ? 2 * fileBytes : 0))
    #expect(disk.counters.bytesWritten == (share == 1 ? 2 * fileBytes : 0))
    let summary = try #require(share == 0 ? latencies.readSummary : latencies.writeSummary)
    #expect((share == 0 ? latencies.writeSummary : latencies.readSummary) == nil)
    #expect(summary.maximum >= summary.nanoseconds(at: 99) && summary.minimum > 0)
    #expect(summary.nanoseconds(at: 99) >= summary.nanoseconds(at: 50))
  }

  /// Reads of a file of zeros overwrite every slot, also those beyond the depth.
  @Test func requestsRotateThroughTheWholeWindow() throws {
    let load = Load(.sequential, writeShare: 0, requestBytes: unit, queueDepth: 2)
    var (_, window, generator) = try world(windowRequests: 16, load)
    defer { unsafe window.address.deallocate() }
    var latencies = Latencies()
    _ = try generator.run(.bytes(15 * unit), &latencies)
    #expect(unsafe window.bytes.count { $0 == 7 } == unit)
    _ = try generator.run(.bytes(unit), &latencies)
    #expect(unsafe window.bytes.allSatisfy { $0 == 0 })
  }

  /// In turns, nothing of one direction begins before the other has ended; mixed, it does.
  @Test(arguments: [nil, 4 * 8192]) func turnsDoNotOverlap(_ turnBytes: Int?) throws {
    let load = Load(
      .sequential, writeShare: 0.5, requestBytes: unit, queueDepth: 4, turnBytes: turnBytes)
    let log = DirectionLog()
    let disk = PathDisk<LoggedQueue>(DiskSettings()) { _, _ in LoggedQueue(log: log) }
    let directory = ScratchDirectory()
    let file = try disk.openFile(directory.path + "/a", byteCount: fileBytes, .create)
    unsafe _ = unlink(directory.path + "/a")
    let window = unsafe PinnedSlice(
      address: .allocate(byteCount: 8 * unit, alignment: 4096), byteCount: 8 * unit)
    defer { unsafe window.address.deallocate() }
    var generator = LoadGenerator(
      disk, file, window: window, load, AccessPlan(load, region: 0..<fileBytes, seed: 1))
    var latencies = Latencies()
    let tally = try generator.run(.bytes(2 * fileBytes), &latencies)
    #expect(tally.reads == 64 && tally.writes == 64)
    #expect(log.mostAtOnce == 4)
    #expect(log.didOverlap == (turnBytes == nil))
  }

  @Test func aTimeThatIsOverStillMakesOneRequest() throws {
    let load = Load(.sequential, writeShare: 1, requestBytes: unit, queueDepth: 8)
    var (_, window, generator) = try world(windowRequests: 8, load)
    defer { unsafe window.address.deallocate() }
    var latencies = Latencies()
    #expect(try generator.run(.seconds(0), &latencies).writes == 1)
    #expect(try generator.run(.seconds(0.01), &latencies).writes > 1)
  }

  /// Whichever request fails, nothing is under way afterwards that could still use the memory.
  @Test func aFailureComesOutWhenAllIsQuiet() throws {
    let load = Load(.sequential, writeShare: 0, requestBytes: unit, queueDepth: 8)
    for number in [2, 5, 33] {
      let fault = Fault.call(number, errno: EIO, isPersistent: false)
      var (disk, window, generator) = try world(windowRequests: 8, load, faults: [fault])
      defer { unsafe window.address.deallocate() }
      var latencies = Latencies()
      let error = #expect(throws: DiskError.self) {
        try generator.run(.bytes(fileBytes), &latencies)
      }
      #expect(error?.code == EIO && error?.path == "/a")
      #expect(disk.inFlight == 0)
      #expect(disk.counters.bytesRead < fileBytes)
    }
  }
}

/// What was under way together.
private final class DirectionLog {
  fileprivate(set) var didOverlap = false
  fileprivate(set) var mostAtOnce = 0
}

/// A queue that moves nothing: it answers the oldest request whenever it is waited for.
private struct LoggedQueue: RequestQueue, ~Copyable {
  static var engine: String { "logged" }
  let log: DirectionLog
  private var underWay: [(tag: Int, request: Request)] = []
  private var answers = 0

  init(log: DirectionLog) { self.log = log }

  mutating func register(_ file: OpenFile) {}
  mutating func register(_ memory: PinnedSlice) -> Int { 0 }
  mutating func prepare(_ request: Request, tag: Int) {
    underWay.append((tag, request))
    log.mostAtOnce = max(log.mostAtOnce, underWay.count)
    if underWay.contains(where: { $0.request.kind != request.kind }) { log.didOverlap = true }
  }
  mutating func enter(wait: Bool) { if wait { answers += 1 } }
  mutating func nextAnswer() -> (tag: Int, result: Int)? {
    guard answers > 0 else { return nil }
    answers -= 1
    let (tag, request) = underWay.removeFirst()
    return (tag, request.memory.byteCount)
  }
  mutating func notify(_ event: EventDescriptor) throws(DiskError) {}
  var isReady: Bool { answers > 0 }
  mutating func unregister(_ memory: PinnedSlice) -> Int { 0 }
  mutating func close() {}
}
