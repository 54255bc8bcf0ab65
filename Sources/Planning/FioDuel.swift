import Base
package import DirectIO

/// Runs this engine and fio in interleaved pairs, each on the same file with the same request size,
/// depth and memory.
///
/// Equal are: the file and the places in it, in their order (sequential from the start, around and
/// around; a mix has one place for reads and one for writes); request size; requests under way; the
/// bytes of memory they rotate through; O_DIRECT; random data made before the clock starts; one
/// thread that asks; no fsync while the clock runs, one after every run that wrote. Whoever goes
/// first in one pair goes second in the next.
///
/// Not equal, since it is what an engine may do: how buffers are laid out and made known to the
/// kernel, and the thread that drives this engine where `engine.hasThread` says so. On several
/// memory nodes this side is also pinned to the processors and the memory of one; fio is not, unless
/// its options say so.
package struct FioDuel: Sendable {
  package var directory: String
  package var fileBytes = 1 << 30
  package var requestBytes = 1 << 20
  package var queueDepth = 32
  package static let pairsStandard = 7
  package var pairs = Self.pairsStandard
  /// Of one run of one side.
  package var secondsPerRun = 1.0
  /// Which engine, and how its ring is set up.
  package var engine = DiskSettings()
  package var seed: UInt64 = 1
  private let fio: Fio

  /// - Parameters:
  ///   - options: of fio, beyond those that make both sides equal, such as `fixedbufs=1`.
  ///   - decode: reads fio's JSON; nil when it is none.
  package init(
    directory: String, program: String = "fio", options: [String] = [],
    decode: @escaping @Sendable (_ json: String) -> FioOutput?
  ) {
    self.directory = directory
    fio = Fio(program: program, options: options, decode: decode)
  }

  /// One side of a pair.
  package struct Score: Codable, Hashable, Sendable {
    package let gbps: Double
    package let cpuSecondsPerGB: Double

    package init(gbps: Double, cpuSecondsPerGB: Double) {
      self.gbps = gbps
      self.cpuSecondsPerGB = cpuSecondsPerGB
    }
  }

  /// All pairs of one load.
  package struct Result: Codable, Hashable, Sendable {
    /// `read`, `write` or `mix`.
    package let name: String
    package let writeShare: Double
    package let ours: [Score]
    package let theirs: [Score]

    /// Medians over the pairs of ours divided by theirs.
    package var rateRatio: Double { median(zip(ours, theirs).map { $0.gbps / $1.gbps }) }
    /// nil where fio's runs were too short for the kernel to count their processor time.
    package var cpuRatio: Double? {
      let pairs = zip(ours, theirs).filter { $1.cpuSecondsPerGB > 0 }
      return pairs.isEmpty ? nil : median(pairs.map { $0.cpuSecondsPerGB / $1.cpuSecondsPerGB })
    }

    package init(name: String, writeShare: Double, ours: [Score], theirs: [Score]) {
      precondition(ours.count == theirs.count && !ours.isEmpty, "pairs have two sides")
      self.name = name
      self.writeShare = writeShare
      self.ours = ours
      self.theirs = theirs
    }
  }

  package struct Report: Codable, Hashable, Sendable {
    package let directory: String
    package let engine: String
    /// Whether a thread of its own drives this engine, as in training.
    package let hasIOThread: Bool
    /// The memory node that this side's buffers and threads are bound to; nil where there is one.
    package let node: Int?
    package let fioVersion: String
    package let isDirect: Bool
    package let fileBytes: Int
    package let requestBytes: Int
    package let queueDepth: Int
    package let footprintBytes: Int
    package let secondsPerRun: Double
    package let results: [Result]
    package let notes: [String]
  }

  /// - Throws: `ProbeError`, `.noFio` where fio is missing.
  package func run() throws(ProbeError) -> Report {
    precondition(pairs > 0 && secondsPerRun > 0, "there is something to measure")
    guard let version = runCommand([fio.program, "--version"]) else { throw .noFio }
    let footprint = requestBytes * queueDepth
    // fio's buffers are as large as ours.
    try ProbeMemory.checkRoom(windowBytes: footprint, more: footprint)
    let site = try SwapSite(
      directory,
      SwapSetup(
        fileBytes: fileBytes, requestBytes: requestBytes, queueDepth: queueDepth,
        windowBytes: footprint, engine: engine, seed: seed))
    _ = try site.fill()
    var results: [Result] = []
    for (name, share) in [("read", 0.0), ("write", 1.0), ("mix", 0.5)] {
      results.append(try runPairs(name, share, site))
    }
    return Report(
      directory: directory, engine: site.engine, hasIOThread: site.lanes[0].hasIOThread,
      node: site.lanes[0].node, fioVersion: trimmed(version.output[...]),
      isDirect: site.isDirect, fileBytes: site.scratch.byteCount, requestBytes: requestBytes,
      queueDepth: queueDepth, footprintBytes: footprint, secondsPerRun: secondsPerRun,
      results: results, notes: site.notes)
  }

  private func runPairs(
    _ name: String, _ share: Double, _ site: SwapSite
  ) throws(ProbeError) -> Result {
    let load = Load(
      .sequential, writeShare: share, requestBytes: requestBytes, queueDepth: queueDepth)
    var (ours, theirs): ([Score], [Score]) = ([], [])
    // The first pair warms up and does not count.
    for pair in 0...pairs {
      let isOursFirst = pair % 2 == 0
      let first = try isOursFirst ? runOurs(load, site) : runTheirs(load, site)
      let second = try isOursFirst ? runTheirs(load, site) : runOurs(load, site)
      guard pair > 0 else { continue }
      ours.append(isOursFirst ? first : second)
      theirs.append(isOursFirst ? second : first)
    }
    return Result(name: name, writeShare: share, ours: ours, theirs: theirs)
  }

  private func runOurs(_ load: Load, _ site: SwapSite) throws(ProbeError) -> Score {
    let run = try measure(
      [site.lanes[0]], load, .seconds(secondsPerRun), region: 0..<site.scratch.byteCount,
      footprint: load.requestBytes * load.queueDepth)
    if run.tally.writes > 0 { try site.sync() }
    let gigabytes = Double(run.tally.readBytes + run.tally.writtenBytes) * 1e-9
    return Score(
      gbps: run.tally.gigabytesPerSecond,
      cpuSecondsPerGB: run.processor.seconds / gigabytes)
  }

  private func runTheirs(_ load: Load, _ site: SwapSite) throws(ProbeError) -> Score {
    let job = try fio.run(
      load, path: site.scratch.livePath, fileBytes: site.scratch.byteCount,
      isDirect: site.isDirect, seconds: secondsPerRun
    ).jobs[0]
    if job.write.bytes > 0 { try site.sync() }
    let cpuSeconds = (job.userPercent + job.systemPercent) / 100 * job.milliseconds / 1000
    let gigabytes = Double(job.read.bytes + job.write.bytes) * 1e-9
    return Score(
      gbps: (job.read.bytesPerSecond + job.write.bytesPerSecond) * 1e-9,
      cpuSecondsPerGB: cpuSeconds / gigabytes)
  }
}
