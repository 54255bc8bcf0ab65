import Base
package import DirectIO

/// Measures request sizes and depths against each other, in interleaved rounds.
package struct RequestSweep: Sendable {
  package static let requestSizes = (16...23).map { 1 << $0 }
  package static let queueDepths = [1, 2, 4, 8, 16, 32, 64]
  /// Cells with more under way at once are left out.
  package static let bytesUnderWayMax = 256 << 20

  package var directory: String
  package var fileBytes = 1 << 30
  package var seconds = 60.0
  package var requestSizes = Self.requestSizes
  package var queueDepths = Self.queueDepths
  /// Memory that the requests of every cell rotate through, the same for all since it decides rates
  /// on virtual machines; nil: the most that a cell has under way at once.
  package var footprintBytes: Int?
  package var rounds = 2
  /// Which engine, and how its ring is set up.
  package var engine = DiskSettings()
  package var seed: UInt64 = 1

  package init(directory: String) { self.directory = directory }

  /// A request size at a depth.
  package typealias Shape = (requestBytes: Int, queueDepth: Int)

  /// The cells to measure; there is one at least in what can be run.
  package var shapes: [Shape] { allShapes.filter(Self.isMeasured) }

  private var allShapes: [Shape] {
    requestSizes.flatMap { size in queueDepths.map { (size, $0) } }
  }

  private static func isMeasured(_ shape: Shape) -> Bool {
    shape.requestBytes * shape.queueDepth <= bytesUnderWayMax
  }

  /// Which cells are left out, if any, and why.
  package var noteOfShapesLeftOut: String? {
    let names = allShapes.filter { !Self.isMeasured($0) }
      .map { "\(ByteCount($0.requestBytes)) x \($0.queueDepth)" }
    guard !names.isEmpty else { return nil }
    return "left out, since more than \(ByteCount(Self.bytesUnderWayMax)) would be under way at "
      + "once: \(names.joined(separator: ", "))"
  }

  /// One request size at one depth: medians over the rounds, sequential, GB/s.
  package struct Cell: Codable, Hashable, Sendable {
    package let requestBytes: Int
    package let queueDepth: Int
    package let read: Double
    package let write: Double
    /// Half reads, half writes.
    package let mix: Double

    package init(requestBytes: Int, queueDepth: Int, read: Double, write: Double, mix: Double) {
      self.requestBytes = requestBytes
      self.queueDepth = queueDepth
      self.read = read
      self.write = write
      self.mix = mix
    }
  }

  package struct Report: Codable, Hashable, Sendable {
    package let directory: String
    package let engine: String
    /// Whether a thread of its own drives the engine, as in training.
    package let hasIOThread: Bool
    package let isDirect: Bool
    package let fileBytes: Int
    package let footprintBytes: Int
    package let rounds: Int
    package let cells: [Cell]
    package let best: Cell
    package let recommended: Cell
    package let notes: [String]
  }

  /// - Throws: `ProbeError` when the directory is missing or too full, when memory is too small for
  ///   the buffers, or when the disk fails.
  package func run() throws(ProbeError) -> Report {
    let shapes = self.shapes
    precondition(!shapes.isEmpty && rounds > 0, "there is something to measure")
    let footprint = max(
      shapes.map { $0.requestBytes * $0.queueDepth }.max()!, footprintBytes ?? 0)
    try ProbeMemory.checkRoom(windowBytes: footprint)
    let site = try SwapSite(
      directory,
      SwapSetup(
        fileBytes: fileBytes, requestBytes: shapes.map(\.requestBytes).max()!,
        queueDepth: shapes.map(\.queueDepth).max()!, windowBytes: footprint, engine: engine,
        seed: seed))
    _ = try site.fill()
    let kinds = 3
    let turn = seconds / Double(shapes.count * kinds * rounds)
    let rates = try site.rates(
      of: shapes.flatMap { size, depth in
        [0, 1, 0.5].map {
          Load(.sequential, writeShare: $0, requestBytes: size, queueDepth: depth)
        }
      }, rounds: rounds, secondsPerTurn: turn, fileBytes: site.scratch.byteCount,
      footprint: footprint)
    let cells = shapes.enumerated().map { index, shape in
      Cell(
        requestBytes: shape.requestBytes, queueDepth: shape.queueDepth, read: rates[kinds * index],
        write: rates[kinds * index + 1], mix: rates[kinds * index + 2])
    }
    let (best, recommended) = Self.choose(cells)
    return Report(
      directory: directory, engine: site.engine, hasIOThread: site.lanes[0].hasIOThread,
      isDirect: site.isDirect, fileBytes: site.scratch.byteCount, footprintBytes: footprint,
      rounds: rounds,
      cells: cells, best: best, recommended: recommended,
      notes: site.notes + [noteOfShapesLeftOut].compactMap(\.self))
  }

  /// The fastest cell, judged by the mean of its rates as shares of the best of each kind, and the
  /// one with the fewest bytes under way that is at most 3 % slower; of equals, the smaller request.
  package static func choose(_ cells: [Cell]) -> (best: Cell, recommended: Cell) {
    func most(_ rate: KeyPath<Cell, Double>) -> Double { cells.map { $0[keyPath: rate] }.max()! }
    let (read, write, mix) = (most(\.read), most(\.write), most(\.mix))
    func score(_ cell: Cell) -> Double {
      (cell.read / read + cell.write / write + cell.mix / mix) / 3
    }
    let best = cells.max { score($0) < score($1) }!
    let recommended = cells.filter { score($0) >= 0.97 * score(best) }.min {
      let underWay = ($0.requestBytes * $0.queueDepth, $1.requestBytes * $1.queueDepth)
      return underWay.0 == underWay.1
        ? $0.requestBytes < $1.requestBytes : underWay.0 < underWay.1
    }!
    return (best, recommended)
  }
}

extension SwapSite {
  /// Runs loads in interleaved rounds.
  ///
  /// - Parameter footprint: memory that every load rotates through.
  /// - Returns: the median rate of each load, GB/s.
  func rates(
    of loads: [Load], rounds: Int, secondsPerTurn: Double, fileBytes: Int, footprint: Int
  ) throws(ProbeError) -> [Double] {
    try samples(
      of: loads, rounds: rounds, secondsPerTurn: secondsPerTurn, fileBytes: fileBytes,
      footprint: footprint
    ).map(median)
  }

  /// - Returns: GB/s by load and round.
  func samples(
    of loads: [Load], rounds: Int, secondsPerTurn: Double, fileBytes: Int, footprint: Int
  ) throws(ProbeError) -> [[Double]] {
    var samples = loads.map { _ in [Double]() }
    for round in 0..<rounds {
      for (index, load) in loads.enumerated() {
        let run = try measure(
          [lanes[0]], load, .seconds(secondsPerTurn), region: 0..<fileBytes,
          footprint: footprint / load.requestBytes * load.requestBytes,
          seed: setup.seed &+ UInt64(round))
        samples[index].append(run.tally.gigabytesPerSecond)
      }
      try sync()
    }
    return samples
  }
}
