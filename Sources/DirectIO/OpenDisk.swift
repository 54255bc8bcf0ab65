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
  var refusal: RingRefusal?
  if settings.engine != .threads {
    do {
      _ = try Ring(entries: settings.standard.queueDepth, mode: settings.ringMode)
    } catch {
      refusal = error
    }
  }
  let hasRing = settings.engine != .threads && refusal == nil
  let note = refusal.map { "reading and writing with threads instead of io_uring: \($0)" }
  // Threads need none to drive them: they go on by themselves.
  if hasRing, settings.hasThread,
    let disk = try? BackgroundDisk({ PathDisk<Ring>(settings, event: $0) })
  {
    return (disk, note)
  }
  return (hasRing ? PathDisk<Ring>(settings) : PathDisk<ThreadQueue>(settings), note)
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
