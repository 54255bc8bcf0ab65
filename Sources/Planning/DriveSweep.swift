import Base
package import DirectIO

/// What a drive does best, and how fast.
package struct DriveFindings: Codable, Hashable, Sendable {
  package let requestBytes: Int
  package let queueDepth: Int
  /// Record-shaped, at that request size and depth; GB = 1e9 bytes.
  package let readGBps: Double
  package let writeGBps: Double
  /// Reads and writes together with 0, 25, 50, 75 and 100 % writes, evenly mixed.
  package let mixGBps: [Double]
  /// 50 % writes, but reads and writes in turns of about 32 MiB each.
  package let alternatedGBps: Double

  package init(
    requestBytes: Int, queueDepth: Int, mixGBps: [Double], alternatedGBps: Double
  ) {
    precondition(mixGBps.count == DriveSweep.shares.count, "a rate for each share")
    self.requestBytes = requestBytes
    self.queueDepth = queueDepth
    readGBps = mixGBps[0]
    writeGBps = mixGBps[mixGBps.count - 1]
    self.mixGBps = mixGBps
    self.alternatedGBps = alternatedGBps
  }
}

/// The short form of `RequestSweep` for the start of a training: a few seconds, 24 MiB of buffers
/// or fewer, and a scratch file of at most 512 MiB that leaves nothing behind.
package struct DriveSweep: Sendable {
  package typealias Shape = (requestBytes: Int, queueDepth: Int)

  static let shares = [0, 0.25, 0.5, 0.75, 1]
  private static let fileBytesMax = 512 << 20
  /// Of buffers, what the standard shape needs; more shapes fit more.
  package static let leastWindowBytes = 8 << 20
  private static let largestRequest = 4 << 20
  /// As large experts have.
  private static let recordBytes = 12 << 20
  private static let turnBytes = 32 << 20
  /// Right for most drives, and taken unless another is clearly better: a measurement of a second
  /// must not make a drive slow for good. Few at once, because what somebody waits for stands behind
  /// all that is under way.
  private static let standard: Shape = (1 << 20, 8)
  /// The others to choose from; those that fit the window are.
  private static let others: [Shape] = [
    (256 << 10, 32), (1 << 20, 24), (2 << 20, 8), (4 << 20, 6), (128 << 10, 32),
  ]
  private static let clearly = 1.1

  package var directory: String
  /// In all; the scratch file is filled for a third of it at most.
  package var seconds: Double
  /// Memory of buffers, all there is but for small change; shapes that do not fit are left out.
  package var windowBytes = 24 << 20
  /// Which engine, and how its ring is set up.
  package var engine = DiskSettings()

  package init(directory: String, seconds: Double = 3) {
    self.directory = directory
    self.seconds = seconds
  }

  /// - Parameter shape: measures at this request size and depth instead of choosing one.
  /// - Returns: nil where the page cache is in between, or the drive is so slow that no time is left
  ///   to tell anything.
  /// - Throws: `ProbeError` when the directory is missing, when not even 48 MiB are free, or when
  ///   the disk fails.
  package func run(at shape: Shape? = nil) throws(ProbeError) -> DriveFindings? {
    precondition(windowBytes >= Self.leastWindowBytes, "the standard shape fits")
    let window = max(windowBytes, shape.map { $0.requestBytes * $0.queueDepth } ?? 0)
    let site = try SwapSite(
      directory,
      SwapSetup(
        fileBytes: fileBytes, requestBytes: max(Self.largestRequest, shape?.requestBytes ?? 0),
        queueDepth: max(64, shape?.queueDepth ?? 0), windowBytes: window, engine: engine,
        seed: 1), isOnCaller: true)
    guard site.isDirect else { return nil }
    let start = monotonicNanoseconds()
    // A slow drive gets a smaller file: what is not written is not used.
    let filled = try site.fill(seconds: seconds / 3, enough: 2 * Self.recordBytes).writtenBytes
    let left = max(0, seconds - Double(monotonicNanoseconds() - start) * 1e-9)
    guard left > 0.3 * seconds else { return nil }
    if let shape { return try findings(site, filled, window, shape, seconds: left) }
    let best = try bestShape(site, filled, seconds: 0.55 * left)
    return try findings(site, filled, window, best, seconds: 0.45 * left)
  }

  /// At most a quarter of what is free; two records and some at least.
  private var fileBytes: Int {
    let free = freeBytes(of: directory) ?? Self.fileBytesMax
    let bytes = max(4 * Self.recordBytes, min(Self.fileBytesMax, free / 4))
    return bytes / Self.largestRequest * Self.largestRequest
  }

  /// Half reads and half writes, as training has it. Every shape is compared with the standard one
  /// of the same round, so that the machine's moods cancel.
  private func bestShape(
    _ site: SwapSite, _ fileBytes: Int, seconds: Double
  ) throws(ProbeError) -> Shape {
    let others = Self.others.filter { $0.requestBytes * $0.queueDepth <= windowBytes }
    let (shapes, rounds) = ([Self.standard] + others, 3)
    let rates = try site.samples(
      of: shapes.map { load($0, 0.5) }, rounds: rounds,
      secondsPerTurn: seconds / Double(shapes.count * rounds), fileBytes: fileBytes,
      footprint: windowBytes)
    return Self.choose(shapes, rates)
  }

  /// - Parameter rates: by shape and round; the first shape is the standard.
  package static func choose(_ shapes: [Shape], _ rates: [[Double]]) -> Shape {
    let gains = rates.map { median(zip($0, rates[0]).map { $0 / max($1, .leastNormalMagnitude) }) }
    let best = gains.indices.max { gains[$0] < gains[$1] } ?? 0
    return gains[best] > Self.clearly ? shapes[best] : shapes[0]
  }

  private func findings(
    _ site: SwapSite, _ fileBytes: Int, _ window: Int, _ shape: Shape, seconds: Double
  ) throws(ProbeError) -> DriveFindings {
    var alternated = load(shape, 0.5)
    alternated.turnBytes = Self.turnBytes
    let loads = Self.shares.map { load(shape, $0) } + [alternated]
    let rounds = 3
    let rates = try site.rates(
      of: loads, rounds: rounds, secondsPerTurn: seconds / Double(loads.count * rounds),
      fileBytes: fileBytes, footprint: window)
    return DriveFindings(
      requestBytes: shape.requestBytes, queueDepth: shape.queueDepth,
      mixGBps: Array(rates.dropLast()), alternatedGBps: rates[rates.count - 1])
  }

  private func load(_ shape: Shape, _ share: Double) -> Load {
    Load(
      .records(byteCount: Self.recordBytes), writeShare: share, requestBytes: shape.requestBytes,
      queueDepth: shape.queueDepth)
  }
}
