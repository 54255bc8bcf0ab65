/// Which engine a disk runs on.
package enum EnginePreference: String, CaseIterable, Sendable {
  /// io_uring where the kernel gives it, threads elsewhere.
  case automatic
  case ring
  case threads
}

/// Opens the disk for this machine. Making the ring is the probe; the note says why threads were
/// taken although they were not asked for.
///
/// - Parameters:
///   - queueDepth: requests under way at once; threads are at most eight, more of them only
///     compete.
///   - requestBytes: transfers are cut into requests of at most so many bytes, a multiple of 4096.
package func openDisk(
  preferring preference: EnginePreference = .automatic, queueDepth: Int = 32,
  requestBytes: Int = 1 << 20
) -> (disk: any Disk, note: String?) {
  func threads() -> ThreadDisk {
    ThreadDisk(threadCount: min(queueDepth, 8), requestBytes: requestBytes)
  }
  guard preference != .threads else { return (threads(), nil) }
  do {
    return (try RingDisk(queueDepth: queueDepth, requestBytes: requestBytes), nil)
  } catch {
    return (threads(), "reading and writing with threads instead of io_uring: \(error)")
  }
}
