import Base
import Foundation

/// The kernel's high-water mark of this process's memory.
package enum PeakMemory {
  /// Forgets what was before.
  package static func reset() {
    FileHandle(forWritingAtPath: "/proc/self/clear_refs")?.write(Data("5".utf8))
  }

  /// Resident at once, at most, since the last reset.
  package static var bytes: Int {
    meminfo(text(of: "/proc/self/status") ?? "")["VmHWM"] ?? 0
  }
}
