import Base
import Synchronization

/// What the kernel says of this process, in bytes.
package enum ProcessMemory {
  /// The largest resident set so far, everything included: files mapped, C libraries, the runtime,
  /// and the page tables and set-aside huge pages as they are now.
  package static var peakResidentBytes: Int {
    let now = bytes(of: "VmHWM")
    return peak.withLock { peak in
      peak = max(peak, now)
      return peak
    }
  }

  /// The kernel keeps no high-water mark of what it does not count as resident: what was seen once is
  /// not forgotten.
  private static let peak = Mutex(0)
  package static var residentBytes: Int { bytes(of: "VmRSS") }

  /// With what the kernel does not count as resident.
  private static func bytes(of key: String) -> Int {
    let status = meminfo(text(of: "/proc/self/status") ?? "")
    return [key, "VmPTE", "HugetlbPages"].reduce(0) { $0 + status[$1, default: 0] }
  }

  /// The cores this process was given; a thread that is pinned later has no fewer.
  package static let cores = max(1, Affinity.processors().count)
}
