import Base
import DirectIO

/// The measurements of one run of a `SwapBenchmark`.
final class SwapRounds {
  /// Lanes that are measured together.
  private struct Group {
    let paths: [String]
    let node: Int?
    let lanes: [SwapLane]
  }

  private let benchmark: SwapBenchmark
  private let sites: [SwapSite]
  private let groups: [Group]
  private let loads: [(name: String, load: Load)]
  /// By group and load.
  private var runs: [[LoadRun]]
  private var rates: [[[Double]]]
  /// By site; reads and writes by round.
  private var ceilings: [(reads: [Double], writes: [Double])]

  init(_ benchmark: SwapBenchmark, _ sites: [SwapSite]) {
    self.benchmark = benchmark
    self.sites = sites
    loads = benchmark.loads
    var groups = sites.flatMap { site in
      site.lanes.map { Group(paths: [site.directory], node: $0.node, lanes: [$0]) }
    }
    if sites.count > 1 {
      // Each path from another node, as far as there are nodes.
      let lanes = sites.enumerated().map { $1.lanes[$0 % $1.lanes.count] }
      groups.append(Group(paths: sites.map(\.directory), node: nil, lanes: lanes))
    }
    self.groups = groups
    runs = Array(repeating: Array(repeating: LoadRun(), count: loads.count), count: groups.count)
    rates = Array(repeating: Array(repeating: [], count: loads.count), count: groups.count)
    ceilings = Array(repeating: ([], []), count: sites.count)
  }

  func run() throws(ProbeError) -> SwapReport {
    var fills: [FreshFile] = []
    for site in sites { fills.append(try fresh(site)) }
    for round in 0..<benchmark.rounds {
      for group in groups.indices {
        for load in loads.indices { try runLoad(load, group, round) }
      }
      if measuresCeiling { for site in sites.indices { try runCeiling(site) } }
    }
    var paths: [SwapReport.Path] = []
    for (site, fill) in zip(sites, fills) { paths.append(try describe(site, fill)) }
    return SwapReport(
      paths: paths, jobs: jobs, ceilings: reportedCeilings,
      requestBytes: benchmark.requestBytes, queueDepth: benchmark.queueDepth,
      footprintBytes: benchmark.footprint, rounds: benchmark.rounds, seed: benchmark.seed)
  }

  /// Plain system calls are the ceiling of plain loads.
  private var measuresCeiling: Bool { benchmark.pattern == .all }

  /// Seconds of one load in one round.
  private var turn: Double {
    let perDirectory = Double(loads.count * groups.count) / Double(sites.count)
    return benchmark.seconds
      / (Double(benchmark.rounds) * (perDirectory + (measuresCeiling ? 2 : 0)))
  }

  private func runLoad(_ load: Int, _ group: Int, _ round: Int) throws(ProbeError) {
    let lanes = groups[group].lanes
    let bytes = sites[0].scratch.byteCount
    let run = try measure(
      lanes, loads[load].load, .seconds(turn), region: 0..<bytes, footprint: benchmark.footprint,
      seed: benchmark.seed &+ UInt64(round))
    runs[group][load].add(run)
    rates[group][load].append(run.tally.gigabytesPerSecond)
    // Not timed, and not left to burden the next load.
    if run.tally.writes > 0 { for site in sites { try site.sync() } }
  }

  private func runCeiling(_ index: Int) throws(ProbeError) {
    let site = sites[index]
    let size = benchmark.requestBytes
    let memory = try ProbeMemory(byteCount: RawLoop.threadCount * size)
    ScratchPages(seed: benchmark.seed).fill(memory.slice)
    for isWrite in [false, true] {
      let result = RawLoop.run(
        site.scratch, requestBytes: size, isWrite: isWrite, memory.slice, seconds: turn)
      guard result.errno == 0 else {
        throw .disk(
          DiskError(isWrite ? .write : .read, path: site.scratch.path, errno: result.errno))
      }
      if isWrite {
        ceilings[index].writes.append(result.gigabytesPerSecond)
        try site.sync()
      } else {
        ceilings[index].reads.append(result.gigabytesPerSecond)
      }
    }
  }
}

// MARK: - Caches

extension SwapRounds {
  /// From so many times the speed of the first write on, a rewrite probably did not go to the
  /// drive. No proof: the first write into an extent also makes the file system mark it written.
  private static let cacheFactor = 1.8

  /// What the first use of a file shows, GB/s.
  private struct FreshFile {
    let firstWrite: Double
    let oldestRead: Double
    let newestRead: Double
  }

  /// Writes a file for the first time and reads its oldest and its newest part.
  private func fresh(_ site: SwapSite) throws(ProbeError) -> FreshFile {
    let written = try site.fill()
    let size = site.scratch.byteCount
    let part = benchmark.eighth(of: size)
    let load = Load(
      .sequential, writeShare: 0, requestBytes: benchmark.requestBytes,
      queueDepth: benchmark.queueDepth)
    func read(_ region: Range<Int>) throws(ProbeError) -> Double {
      let lanes = [site.lanes[0]]
      return try measure(
        lanes, load, .bytes(region.count), region: region, footprint: benchmark.footprint
      ).tally.gigabytesPerSecond
    }
    return FreshFile(
      firstWrite: written.gigabytesPerSecond, oldestRead: try read(0..<part),
      newestRead: try read(size - part..<size))
  }

  private func describe(
    _ site: SwapSite, _ fresh: FreshFile
  ) throws(ProbeError) -> SwapReport.Path {
    let lane = site.lanes[0]
    let rewrite = loads.indices.filter { loads[$0].load.writeShare == 1 }.first.flatMap { load in
      groups.indices.first { groups[$0].lanes[0] === lane }.map { median(rates[$0][load]) }
    }
    let isCachedWrite = (rewrite ?? 0) > Self.cacheFactor * fresh.firstWrite
    let isCachedRead = fresh.newestRead > Self.cacheFactor * fresh.oldestRead
    var notes = site.notes
    if isCachedWrite, let rewrite {
      notes.append(
        "writing again is \(fixed(rewrite / fresh.firstWrite, 1)) times as fast as the first "
          + "write: probably the figures are the host's cache, not the drive; or first writes "
          + "are slow, since the file system marks their extents as written")
    }
    if isCachedRead {
      let factor = fixed(fresh.newestRead / fresh.oldestRead, 1)
      notes.append(
        "what was written last reads \(factor) times as fast as what was written first: reads "
          + "after writes are probably the host's cache, not the drive")
    }
    let (size, depth, seed) = (benchmark.requestBytes, benchmark.queueDepth, benchmark.seed)
    let verified = try lane.perform {
      lane.verify(
        requestBytes: size, queueDepth: depth, fileBytes: site.scratch.byteCount,
        path: site.scratch.path, seed: seed)
    }.get()
    return SwapReport.Path(
      directory: site.directory, engine: site.engine, hasIOThread: lane.hasIOThread,
      isDirect: site.isDirect, scratchBytes: site.scratch.byteCount,
      firstWriteGbps: fresh.firstWrite, rewriteGbps: rewrite,
      oldestReadGbps: fresh.oldestRead, newestReadGbps: fresh.newestRead,
      isHostCache: isCachedWrite || isCachedRead, notes: notes, pagesChecked: verified.pages,
      checksum: verified.checksum)
  }
}

// MARK: - Report

extension SwapRounds {
  private var jobs: [SwapReport.Job] {
    groups.indices.flatMap { group in loads.indices.map { job(group, $0) } }
  }

  private func job(_ group: Int, _ index: Int) -> SwapReport.Job {
    let (run, load) = (runs[group][index], loads[index].load)
    let seconds = Double(run.tally.nanoseconds) * 1e-9
    var recordBytes: Int?
    if case .records(let byteCount) = load.layout { recordBytes = byteCount }
    let gigabytes = Double(run.tally.readBytes + run.tally.writtenBytes) * 1e-9
    return SwapReport.Job(
      name: loads[index].name, paths: groups[group].paths, node: groups[group].node,
      writeShare: load.writeShare, recordBytes: recordBytes,
      rate: Rate(rates[group][index]),
      read: SwapReport.Side(
        bytes: run.tally.readBytes, requests: run.tally.reads, seconds: seconds,
        latency: run.latencies.readSummary),
      write: SwapReport.Side(
        bytes: run.tally.writtenBytes, requests: run.tally.writes, seconds: seconds,
        latency: run.latencies.writeSummary),
      userSeconds: run.processor.userSeconds, systemSeconds: run.processor.systemSeconds,
      cpuSecondsPerGB: run.processor.seconds / gigabytes)
  }

  private var reportedCeilings: [SwapReport.Ceiling] {
    guard measuresCeiling else { return [] }
    return zip(sites, ceilings).map { site, rates in
      SwapReport.Ceiling(
        path: site.directory, threads: RawLoop.threadCount, read: Rate(rates.reads),
        write: Rate(rates.writes))
    }
  }
}
