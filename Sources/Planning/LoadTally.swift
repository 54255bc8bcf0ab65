import DirectIO
import Glibc
import Histogram

/// What a load moved, and in what time.
package struct LoadTally: Hashable, Sendable {
  package internal(set) var readBytes = 0
  package internal(set) var writtenBytes = 0
  package internal(set) var reads = 0
  package internal(set) var writes = 0
  package internal(set) var nanoseconds: UInt64 = 0

  var isEmpty: Bool { reads + writes == 0 }
  /// Reads and writes together; GB = 1e9 bytes.
  package var gigabytesPerSecond: Double {
    // Bytes per nanosecond.
    Double(readBytes + writtenBytes) / Double(max(1, nanoseconds))
  }

  mutating func note(_ kind: Transfer.Kind, _ byteCount: Int) {
    switch kind {
    case .read:
      readBytes += byteCount
      reads += 1
    case .write:
      writtenBytes += byteCount
      writes += 1
    }
  }

  /// Bytes of both; the times of what ran one after the other add up.
  mutating func add(_ later: Self) {
    addBytes(later)
    nanoseconds += later.nanoseconds
  }

  /// Bytes of both; what ran at once took as long as the longer.
  mutating func addConcurrent(_ other: Self) {
    addBytes(other)
    nanoseconds = max(nanoseconds, other.nanoseconds)
  }

  private mutating func addBytes(_ other: Self) {
    readBytes += other.readBytes
    writtenBytes += other.writtenBytes
    reads += other.reads
    writes += other.writes
  }
}

/// Nanoseconds from submission to completion, reads and writes apart; allocated once.
package struct Latencies: Sendable {
  package init() {}

  /// Three significant digits up to ten minutes; longer ones count as that.
  private static let longest: UInt64 = 600_000_000_000
  private static func empty() -> Histogram<UInt32> {
    Histogram(highestTrackableValue: longest)
  }

  private(set) var reads = Self.empty()
  private(set) var writes = Self.empty()

  @inline(__always)
  mutating func note(_ kind: Transfer.Kind, _ nanoseconds: UInt64) {
    let value = min(nanoseconds, Self.longest)
    switch kind {
    case .read: reads.record(value)
    case .write: writes.record(value)
    }
  }

  /// How long reads took; nil where there were none.
  package var readSummary: LatencySummary? { LatencySummary(reads) }
  package var writeSummary: LatencySummary? { LatencySummary(writes) }

  mutating func add(_ other: Self) {
    reads.add(other.reads)
    writes.add(other.writes)
  }
}

/// Processor time of the whole process, the kernel's work for it included.
struct ProcessorTime: Hashable, Sendable {
  var userSeconds = 0.0
  var systemSeconds = 0.0
  var seconds: Double { userSeconds + systemSeconds }

  static func ofProcess() -> Self {
    var usage = rusage()
    unsafe _ = getrusage(RUSAGE_SELF, &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }
    return Self(
      userSeconds: seconds(usage.ru_utime), systemSeconds: seconds(usage.ru_stime))
  }

  static func + (a: Self, b: Self) -> Self {
    Self(
      userSeconds: a.userSeconds + b.userSeconds, systemSeconds: a.systemSeconds + b.systemSeconds)
  }

  static func - (later: Self, earlier: Self) -> Self {
    Self(
      userSeconds: later.userSeconds - earlier.userSeconds,
      systemSeconds: later.systemSeconds - earlier.systemSeconds)
  }
}
