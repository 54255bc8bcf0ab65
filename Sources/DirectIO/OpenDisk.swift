/// Which engine a disk runs on.
package enum EnginePreference: String, CaseIterable, Sendable {
  /// io_uring where the kernel gives it, threads elsewhere.
  case automatic
  case ring
  case threads
}

/// Opens the disk for this machine. Making a ring is the probe; the note says why threads were taken
/// although they were not asked for.
package func openDisk(_ settings: DiskSettings) -> (disk: any Disk, note: String?) {
  guard settings.engine != .threads else { return (PathDisk<ThreadQueue>(settings), nil) }
  do {
    _ = try Ring(entries: settings.standard.queueDepth, mode: settings.ringMode)
    return (PathDisk<Ring>(settings), nil)
  } catch {
    return (
      PathDisk<ThreadQueue>(settings),
      "reading and writing with threads instead of io_uring: \(error)"
    )
  }
}

/// The same with one way of driving all paths.
/// - Parameters:
///   - queueDepth: requests under way at once on each path.
///   - requestBytes: transfers are cut into requests of at most so many bytes, a multiple of 4096.
package func openDisk(
  preferring preference: EnginePreference = .automatic, queueDepth: Int = 32,
  requestBytes: Int = 1 << 20
) -> (disk: any Disk, note: String?) {
  openDisk(
    DiskSettings(
      engine: preference,
      standard: PathSettings(requestBytes: requestBytes, queueDepth: queueDepth)))
}
