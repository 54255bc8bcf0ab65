/// What a disk has moved since it was made, and what that took.
package struct DiskCounters: Hashable, Sendable {
  package var bytesRead = 0
  package var bytesWritten = 0
  /// Requests that the kernel answered, repeated ones included.
  package var requests = 0
  /// Requests that were repeated: short, interrupted, or failed with EIO and tried again.
  package var retries = 0
  package var syncs = 0

  package init() {}

  /// What happened between two readings.
  package static func - (later: Self, earlier: Self) -> Self {
    var difference = Self()
    difference.bytesRead = later.bytesRead - earlier.bytesRead
    difference.bytesWritten = later.bytesWritten - earlier.bytesWritten
    difference.requests = later.requests - earlier.requests
    difference.retries = later.retries - earlier.retries
    difference.syncs = later.syncs - earlier.syncs
    return difference
  }

  package static func + (one: Self, other: Self) -> Self {
    var sum = Self()
    sum.bytesRead = one.bytesRead + other.bytesRead
    sum.bytesWritten = one.bytesWritten + other.bytesWritten
    sum.requests = one.requests + other.requests
    sum.retries = one.retries + other.retries
    sum.syncs = one.syncs + other.syncs
    return sum
  }

  /// Notes the answer to one request: bytes moved, or a negative errno.
  mutating func note(_ kind: Transfer.Kind, result: Int, repeated: Bool) {
    requests += 1
    retries += repeated ? 1 : 0
    switch kind {
    case .read: bytesRead += max(0, result)
    case .write: bytesWritten += max(0, result)
    }
  }
}

/// What one path of a disk has moved.
package struct PathCounters: Hashable, Sendable {
  package let directory: String
  package let counters: DiskCounters

  package init(directory: String, counters: DiskCounters) {
    self.directory = directory
    self.counters = counters
  }
}
