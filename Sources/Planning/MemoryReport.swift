import Base

/// What `pagoda bench memory` found. Rates are GB/s with GB = 1e9 bytes, counted as STREAM does:
/// bytes read plus bytes written by the program, not what caches fetch beside.
package struct MemoryReport: Codable, Hashable, Sendable {
  /// The memory of one node, seen from the processors of one.
  package struct Row: Codable, Hashable, Sendable {
    package let processorNode: Int
    package let memoryNode: Int
    package let threads: Int
    /// a = b, by a plain loop: 2 bytes counted for each byte of an array.
    package let copy: Rate
    /// a = b + s c, by a plain loop: 3 bytes.
    package let triad: Rate
    /// a = b, by the C library's memcpy: 2 bytes.
    package let memcpy: Rate
    /// The sum of a: 1 byte.
    package let read: Rate

    /// Medians, against the better of memcpy and reading.
    package var ceiling: Double { max(memcpy.median, read.median) }
    package var copyShare: Double { copy.median / ceiling }
    package var triadShare: Double { triad.median / ceiling }
  }

  /// What the ceiling is.
  package let ceiling: String
  /// Of each of the three arrays on each memory node.
  package let arrayBytes: Int
  /// Of the last-level caches beside the processors of one node, the most; nil if not known.
  package let cacheBytes: Int?
  package let rounds: Int
  package let rows: [Row]
  /// Remarks for the reader: arrays that stay in caches, pages that are elsewhere.
  package let notes: [String]
  /// Bytes of the arrays that are on huge pages, and of all arrays.
  package let hugePageBytes: Int
  package let allBytes: Int
  /// Of the sums of all rounds: they were added up, and each was right.
  package let checksum: UInt64
}

/// Why there is no report.
package enum MemoryProbeError: Error, Sendable, CustomStringConvertible {
  case noNode(Int, known: [Int])
  case noRoom(node: Int, wantedBytes: Int, availableBytes: Int)
  case memory(String)
  case wrongSum(processorNode: Int, memoryNode: Int, sum: Double, expected: Double)

  package var description: String {
    switch self {
    case .noNode(let id, let known):
      "there is no memory node \(id); choose from " + known.map(String.init).joined(separator: ", ")
    case .noRoom(let node, let wanted, let available):
      "memory node \(node): the arrays need \(ByteCount(wanted)), \(ByteCount(available)) are "
        + "available; give a smaller --size or other nodes with --node"
    case .memory(let text):
      text
    case .wrongSum(let processors, let memory, let sum, let expected):
      "memory node \(memory), written by processors of node \(processors), sums up to \(sum) "
        + "instead of \(expected): the memory is faulty; see `dmesg` and run a memory test"
    }
  }
}
