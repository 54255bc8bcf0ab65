import Base
package import DirectIO

/// Measures how fast directories' drives swap, through the engine that training uses; as there, a
/// thread of its own drives it where `engine.hasThread` says so.
///
/// A scratch file of random data is written once and then read and written in rounds: every round
/// runs every load, so that a change of the machine's mood hits all alike. At the end the engine
/// proves that it gives back what it is given.
package struct SwapBenchmark: Sendable {
  package enum Pattern: String, CaseIterable, Sendable { case all, read, write, mix }
  package enum Layouts: String, CaseIterable, Sendable { case both, sequential, records }

  package var directories: [String]
  package var fileBytes = 1 << 30
  /// For all loads of one directory together, filling the file aside.
  package var seconds = 20.0
  package var pattern = Pattern.all
  package var layouts = Layouts.both
  /// Of the pattern `mix`.
  package var writeShare = 0.5
  package var requestBytes = 1 << 20
  package var queueDepth = 32
  /// Memory that requests rotate through; nil: as much as is under way at once.
  package var footprintBytes: Int?
  package var recordBytes = 12 << 20
  package var rounds = 3
  /// Which engine, and how its ring is set up.
  package var engine = DiskSettings()
  package var seed: UInt64 = 1

  package init(directories: [String]) { self.directories = directories }

  /// What is used of `footprintBytes`: whole requests, as many as are under way at least.
  package var footprint: Int {
    roundUp(max(footprintBytes ?? 0, queueDepth * requestBytes), to: requestBytes)
  }

  /// An eighth of a file in whole requests, one at least: an eighth in bytes would have reads begin
  /// inside a page, which drives with sectors of 4 KiB refuse.
  package func eighth(of fileBytes: Int) -> Int {
    max(1, fileBytes / 8 / requestBytes) * requestBytes
  }

  /// - Throws: `ProbeError` when a directory is missing or too full, when memory is too small for
  ///   the buffers, when the disk fails, or when it does not give back what was written.
  package func run() throws(ProbeError) -> SwapReport {
    precondition(!directories.isEmpty && rounds > 0, "there is something to measure")
    // Plain calls have buffers of their own.
    try ProbeMemory.checkRoom(
      windowBytes: footprint, sites: directories.count,
      more: pattern == .all ? RawLoop.threadCount * requestBytes : 0)
    let setup = SwapSetup(
      fileBytes: max(fileBytes, roundUp(recordBytes, to: requestBytes)),
      requestBytes: requestBytes, queueDepth: queueDepth, windowBytes: footprint,
      engine: engine, seed: seed)
    var sites: [SwapSite] = []
    for directory in directories {
      sites.append(try SwapSite(directory, setup, hasThreads: directories.count > 1))
    }
    return try SwapRounds(self, sites).run()
  }

  /// The loads of a round, in their order; reads and writes in turn.
  package var loads: [(name: String, load: Load)] {
    let shares =
      switch pattern {
      case .all: [0, 0.25, 0.5, 0.75, 1]
      case .read: [0.0]
      case .write: [1.0]
      case .mix: [writeShare]
      }
    var loads: [(name: String, load: Load)] = []
    if layouts != .records {
      // Mixes come record-shaped; sequential ones only where they are asked for.
      for share in pattern == .all ? [0, 1] : shares {
        loads.append(("sequential-" + Self.name(of: share), load(.sequential, share)))
      }
    }
    if layouts != .sequential {
      for share in shares {
        loads.append(
          ("records-" + Self.name(of: share), load(.records(byteCount: recordBytes), share)))
      }
    }
    return loads
  }

  private func load(_ layout: Load.Layout, _ share: Double) -> Load {
    Load(layout, writeShare: share, requestBytes: requestBytes, queueDepth: queueDepth)
  }

  private static func name(of share: Double) -> String {
    switch share {
    case 0: "read"
    case 1: "write"
    default: "mix-\(Int((100 * share).rounded()))"
    }
  }
}
