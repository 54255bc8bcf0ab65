/// What `pagoda bench swap` found. Rates are GB/s with GB = 1e9 bytes.
package struct SwapReport: Codable, Hashable, Sendable {
  /// The reads, or the writes, of a job in all rounds together.
  package struct Side: Codable, Hashable, Sendable {
    package let bytes: Int
    package let requests: Int
    package let seconds: Double
    /// nil where there were no requests.
    package let latency: LatencySummary?
  }

  /// One load on one path, or on all paths at once.
  package struct Job: Codable, Hashable, Sendable {
    /// `sequential-read`, `records-mix-25` and the like.
    package let name: String
    package let paths: [String]
    /// The memory node of buffers and thread; nil where there is one.
    package let node: Int?
    package let writeShare: Double
    /// nil: sequential.
    package let recordBytes: Int?
    /// Reads and writes together, by round.
    package let rate: Rate
    package let read: Side
    package let write: Side
    package let userSeconds: Double
    package let systemSeconds: Double
    package let cpuSecondsPerGB: Double
  }

  /// Plain system calls from threads, in the same rounds.
  package struct Ceiling: Codable, Hashable, Sendable {
    package let path: String
    package let threads: Int
    package let read: Rate
    package let write: Rate
  }

  /// What is to be known of a path to read its figures.
  package struct Path: Codable, Hashable, Sendable {
    package let directory: String
    package let engine: String
    /// Whether a thread of its own drives the engine, as in training.
    package let hasIOThread: Bool
    package let isDirect: Bool
    package let scratchBytes: Int
    /// The first time each block was written, and again.
    package let firstWriteGbps: Double
    package let rewriteGbps: Double?
    /// What was written first, and what was written last, read just after.
    package let oldestReadGbps: Double
    package let newestReadGbps: Double
    /// Whether figures are probably those of a cache of the host, or of the drive.
    package let isHostCache: Bool
    package let notes: [String]
    /// Pages of 4 KiB that were read and compared with what had been written.
    package let pagesChecked: Int
    package let checksum: UInt64
  }

  package let paths: [Path]
  package let jobs: [Job]
  package let ceilings: [Ceiling]
  package let requestBytes: Int
  package let queueDepth: Int
  package let footprintBytes: Int
  package let rounds: Int
  package let seed: UInt64
}
