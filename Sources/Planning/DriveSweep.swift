package import DirectIO

/// What a drive does best, and how fast.
package struct DriveFindings: Codable, Hashable, Sendable {
  /// The smallest request and the smallest depth that are within 3 % of the best.
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

/// The short form of `RequestSweep` for the start of a training: a few seconds, 24 MiB of buffers,
/// and a scratch file of at most 512 MiB that leaves nothing behind.
package struct DriveSweep: Sendable {
  static let shares = [0, 0.25, 0.5, 0.75, 1]
  private static let fileBytesMax = 512 << 20
  private static let windowBytes = 24 << 20
  private static let largestRequest = 4 << 20
  /// As large experts have.
  private static let recordBytes = 12 << 20
  private static let turnBytes = 32 << 20
  /// Request sizes and depths to choose from; all fit the window.
  private static let shapes: [(requestBytes: Int, queueDepth: Int)] = [
    (256 << 10, 16), (256 << 10, 64), (1 << 20, 4), (1 << 20, 12), (1 << 20, 24), (2 << 20, 4),
    (2 << 20, 12), (4 << 20, 2), (4 << 20, 6),
  ]

  package var directory: String
  /// In all; the scratch file is filled for a third of it at most.
  package var seconds: Double
  package var preference = EnginePreference.automatic

  package init(directory: String, seconds: Double = 3) {
    self.directory = directory
    self.seconds = seconds
  }

  /// - Throws: `ProbeError` when the directory is missing, when not even 48 MiB are free, or when
  ///   the disk fails.
  package func run() throws(ProbeError) -> DriveFindings {
    let site = try SwapSite(
      directory,
      SwapSetup(
        fileBytes: fileBytes, requestBytes: Self.largestRequest,
        queueDepth: Self.shapes.map(\.queueDepth).max()!, windowBytes: Self.windowBytes,
        preference: preference, seed: 1))
    let start = monotonicNanoseconds()
    // A slow drive gets a smaller file: what is not written is not used.
    let filled = try site.fill(seconds: seconds / 3, enough: 2 * Self.recordBytes).writtenBytes
    let left = max(0, seconds - Double(monotonicNanoseconds() - start) * 1e-9)
    let shape = try bestShape(site, filled, seconds: 0.45 * left)
    return try findings(site, filled, shape, seconds: 0.55 * left)
  }

  /// At most a quarter of what is free; two records and some at least.
  private var fileBytes: Int {
    let free = freeBytes(of: directory) ?? Self.fileBytesMax
    let bytes = max(4 * Self.recordBytes, min(Self.fileBytesMax, free / 4))
    return bytes / Self.largestRequest * Self.largestRequest
  }

  private func bestShape(
    _ site: SwapSite, _ fileBytes: Int, seconds: Double
  ) throws(ProbeError) -> RequestSweep.Cell {
    let (kinds, rounds) = ([0, 1, 0.5], 2)
    let turns = Double(Self.shapes.count * kinds.count * rounds)
    let rates = try site.rates(
      of: Self.shapes.flatMap { shape in kinds.map { load(shape, $0) } }, rounds: rounds,
      secondsPerTurn: seconds / turns, fileBytes: fileBytes, footprint: Self.windowBytes)
    let cells = Self.shapes.enumerated().map { index, shape in
      RequestSweep.Cell(
        requestBytes: shape.requestBytes, queueDepth: shape.queueDepth, read: rates[3 * index],
        write: rates[3 * index + 1], mix: rates[3 * index + 2])
    }
    return RequestSweep.choose(cells).recommended
  }

  private func findings(
    _ site: SwapSite, _ fileBytes: Int, _ cell: RequestSweep.Cell, seconds: Double
  ) throws(ProbeError) -> DriveFindings {
    let shape = (cell.requestBytes, cell.queueDepth)
    var alternated = load(shape, 0.5)
    alternated.turnBytes = Self.turnBytes
    let loads = Self.shares.map { load(shape, $0) } + [alternated]
    let rounds = 2
    let rates = try site.rates(
      of: loads, rounds: rounds, secondsPerTurn: seconds / Double(loads.count * rounds),
      fileBytes: fileBytes, footprint: Self.windowBytes)
    return DriveFindings(
      requestBytes: cell.requestBytes, queueDepth: cell.queueDepth,
      mixGBps: Array(rates.dropLast()), alternatedGBps: rates[rates.count - 1])
  }

  private func load(_ shape: (requestBytes: Int, queueDepth: Int), _ share: Double) -> Load {
    Load(
      .records(byteCount: Self.recordBytes), writeShare: share, requestBytes: shape.requestBytes,
      queueDepth: shape.queueDepth)
  }
}
