import Base
package import DirectIO

/// What `pagoda bench swap` found. Rates are GB/s with GB = 1e9 bytes.
package struct SwapReport: Codable, Hashable, Sendable {
  /// A rate over the rounds of a run: its median and its extremes.
  package struct Rate: Codable, Hashable, Sendable {
    package let median: Double
    package let low: Double
    package let high: Double

    /// - Parameter samples: GB/s of each round, at least one.
    package init(_ samples: [Double]) {
      precondition(!samples.isEmpty, "a rate is measured at least once")
      let sorted = samples.sorted()
      let (lower, upper) = (sorted[(sorted.count - 1) / 2], sorted[sorted.count / 2])
      median = (lower + upper) / 2
      low = sorted[0]
      high = sorted[sorted.count - 1]
    }
  }

  /// One request size at one queue depth.
  package struct Row: Codable, Hashable, Sendable {
    package let requestBytes: Int
    package let queueDepth: Int
    package let sequentialRead: Rate
    package let sequentialWrite: Rate
    package let randomRead: Rate
    package let randomWrite: Rate
    /// Reads and writes together, half each, at random places.
    package let mix: Rate
    /// What `ceiling` says, in the same rounds.
    package let ceilingRead: Rate
    package let ceilingWrite: Rate
    /// Medians of sequential over ceiling.
    package var readShare: Double { sequentialRead.median / ceilingRead.median }
    package var writeShare: Double { sequentialWrite.median / ceilingWrite.median }
  }

  package let directory: String
  package let engine: String
  /// Remarks for the reader: why threads were taken, that figures are not the disk's.
  package let notes: [String]
  package let isDirect: Bool
  package let scratchBytes: Int
  package let rounds: Int
  /// What the ceiling is.
  package let ceiling: String
  package let rows: [Row]
  package let bytesRead: Int
  package let bytesWritten: Int
  /// Pages of 4 KiB that were read and compared with what had been written.
  package let pagesChecked: Int
  /// The sum of the words of the checked pages: they were looked at.
  package let checksum: UInt64
  package let seed: UInt64
}

/// Why there is no report.
package enum ProbeError: Error, Sendable, CustomStringConvertible {
  case noDirectory(path: String)
  case noSpace(path: String, needed: Int, free: Int)
  case disk(DiskError)
  case wrongData(path: String, offset: Int)

  package var description: String {
    switch self {
    case .noDirectory(let path):
      "cannot probe \(path): it is not a directory; make it, or give one on the drive in question"
    case .noSpace(let path, let needed, let free):
      "cannot probe \(path): the scratch file needs \(ByteCount(needed)), "
        + "\(ByteCount(free)) are free; give a smaller --size or a directory with more room"
    case .disk(let error):
      error.description
    case .wrongData(let path, let offset):
      "\(path) at offset \(offset) does not hold what was written: the drive, its driver or the "
        + "memory is faulty; see `dmesg`, run `smartctl -a` and a memory test"
    }
  }
}
