import Base
import Foundation
import Synchronization

/// What the kernel says of this process, in bytes.
package enum ProcessMemory {
  /// The largest resident set so far, everything included: files mapped, C libraries, the runtime,
  /// and the page tables and set-aside huge pages as they are now.
  package static var peakResidentBytes: Int {
    let now = status("VmHWM:") + outsideResidentSet
    return peak.withLock { peak in
      peak = max(peak, now)
      return peak
    }
  }

  /// The kernel keeps no high-water mark of those: what was seen once is not forgotten.
  private static let peak = Mutex(0)
  package static var residentBytes: Int { status("VmRSS:") + outsideResidentSet }

  /// What the kernel does not count as resident.
  private static var outsideResidentSet: Int { status("VmPTE:") + status("HugetlbPages:") }

  private static func status(_ key: String) -> Int {
    guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else {
      return 0
    }
    for line in text.split(separator: "\n") where line.hasPrefix(key) {
      return (line.split(separator: " ").compactMap { Int($0) }.first ?? 0) * 1024
    }
    return 0
  }

  /// The cores this process was given; a thread that is pinned later has no fewer.
  package static let cores = max(1, Affinity.processors().count)
}
