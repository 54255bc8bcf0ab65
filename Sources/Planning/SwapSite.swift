import Base
package import DirectIO
import PinnedMemory

/// How a directory is probed.
package struct SwapSetup: Sendable {
  /// Of the scratch file; larger than any cache of the drive says more.
  package var fileBytes: Int
  /// The largest request and the largest depth in use.
  package var requestBytes: Int
  package var queueDepth: Int
  /// Memory that requests rotate through.
  package var windowBytes: Int
  package var engine: DiskSettings
  package var seed: UInt64
}

/// A directory under test: its scratch file, and one lane for each memory node with processors.
final class SwapSite {
  let directory: String
  let scratch: ScratchFile
  let lanes: [SwapLane]
  let setup: SwapSetup
  var isDirect: Bool { lanes[0].isDirect }
  var engine: String { lanes[0].disk.engine }

  /// - Parameters:
  ///   - hasThreads: whether lanes get threads of their own although there is one node.
  ///   - isOnCaller: one lane only, on the caller's thread, whatever the nodes.
  init(
    _ directory: String, _ setup: SwapSetup, hasThreads: Bool = false, isOnCaller: Bool = false
  ) throws(ProbeError) {
    let nodes = isOnCaller ? [] : Topology.current().cpuNodes
    // One node is no choice: buffers and thread stay where they are.
    let places: [Topology.Node?] = nodes.count > 1 ? nodes : [nil]
    var lanes: [SwapLane] = []
    for node in places {
      lanes.append(
        try SwapLane(
          node: node, hasThread: hasThreads, windowBytes: setup.windowBytes, seed: setup.seed))
    }
    let byteCount = roundUp(setup.fileBytes, to: setup.requestBytes)
    // A verification writes one piece while it reads another.
    scratch = try ScratchFile(in: directory, byteCount: max(byteCount, 2 * setup.requestBytes)) {
      path throws(DiskError) in
      for lane in lanes {
        try lane.open(
          path, setup.engine, queueDepth: setup.queueDepth,
          requestBytes: setup.requestBytes)
      }
    }
    self.directory = directory
    self.setup = setup
    self.lanes = lanes
    if isDirect { scratch.setDirect() }
  }

  /// Remarks for the reader: why threads were taken, that figures are not the drive's.
  var notes: [String] {
    var notes = lanes[0].note.map { [$0] } ?? []
    if !isDirect {
      notes.append(
        "the file system has no O_DIRECT: figures are those of the page cache, not the drive's")
    }
    return notes
  }

  /// Writes the file once. Reads of blocks never written would be answered without the drive.
  ///
  /// - Parameters:
  ///   - seconds: after so long no more of the file is written than
  ///   - enough: bytes.
  /// - Returns: what was written: bytes from the start of the file on, and the time.
  func fill(
    seconds: Double = .infinity, enough: Int = 0
  ) throws(ProbeError) -> LoadTally {
    let (lane, unit) = (lanes[0], setup.requestBytes)
    let load = Load(
      .sequential, writeShare: 1, requestBytes: unit,
      queueDepth: min(setup.queueDepth, lane.window.byteCount / unit))
    // In parts, to stop at a slow drive.
    let part = seconds < .infinity ? roundUp(scratch.byteCount / 16, to: unit) : scratch.byteCount
    var written = LoadTally()
    while written.writtenBytes < scratch.byteCount {
      let rest = written.writtenBytes..<scratch.byteCount
      let run = try measure(
        [lane], load, .bytes(min(part, rest.count)), region: rest,
        footprint: lane.window.byteCount)
      written.add(run.tally)
      let isLate = Double(written.nanoseconds) > seconds * 1e9
      if isLate, written.writtenBytes >= enough { break }
    }
    try sync()
    return written
  }

  func sync() throws(ProbeError) {
    do throws(DiskError) { try lanes[0].sync() } catch { throw .disk(error) }
  }
}

/// A load's run: what moved, how long each request took, and what the processor did for it.
struct LoadRun: Sendable {
  var tally = LoadTally()
  var latencies = Latencies()
  var processor = ProcessorTime()

  /// What ran later.
  mutating func add(_ later: Self) {
    tally.add(later.tally)
    latencies.add(later.latencies)
    processor = processor + later.processor
  }
}

/// Runs a load on some lanes at once.
///
/// - Parameter region: the part of the files to use.
func measure(
  _ lanes: [SwapLane], _ load: Load, _ limit: LoadGenerator.Limit, region: Range<Int>,
  footprint: Int, seed: UInt64 = 1
) throws(ProbeError) -> LoadRun {
  let before = ProcessorTime.ofProcess()
  let outcomes = SwapLane.together(lanes) {
    $0.run(load, limit, region: region, footprint: footprint, seed: seed)
  }
  var run = LoadRun()
  run.processor = ProcessorTime.ofProcess() - before
  for outcome in outcomes {
    switch outcome {
    case .success(let (tally, latencies)):
      run.tally.addConcurrent(tally)
      run.latencies.add(latencies)
    case .failure(let error): throw .disk(error)
    }
  }
  return run
}
