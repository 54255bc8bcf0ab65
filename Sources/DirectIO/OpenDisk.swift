/// Which engine a disk runs on.
package enum EnginePreference: String, CaseIterable, Sendable {
  /// io_uring where the kernel gives it, threads elsewhere.
  case automatic
  case ring
  case threads
}

/// Opens the disk for this machine. Making its rings is the probe; the note says what is not as it
/// was asked for, and why.
package func openDisk(_ settings: DiskSettings) -> (disk: any Disk, note: String?) {
  guard settings.engine != .threads else { return (PathDisk<ThreadQueue>(settings), nil) }
  do {
    try makeRings(settings.queueDepths[...], settings.ringMode)
  } catch {
    return (
      PathDisk<ThreadQueue>(settings),
      "reading and writing with threads instead of io_uring: \(error)"
    )
  }
  // A pool of threads needs none to drive it: it goes on by itself.
  guard settings.hasThread else { return (PathDisk<Ring>(settings), nil) }
  do {
    return (try BackgroundDisk { PathDisk<Ring>(settings, event: $0) }, nil)
  } catch {
    return (
      PathDisk<Ring>(settings), "requests begin and end only between experts: \(error)"
    )
  }
}

/// The same with one way of driving all paths.
/// - Parameters:
///   - queueDepth: requests under way at once on each path.
///   - requestBytes: transfers are cut into requests of at most so many bytes, a multiple of 4096.
package func openDisk(
  preferring preference: EnginePreference = .automatic, queueDepth: Int = 8,
  requestBytes: Int = 1 << 20
) -> (disk: any Disk, note: String?) {
  openDisk(
    DiskSettings(
      engine: preference,
      standard: PathSettings(requestBytes: requestBytes, queueDepth: queueDepth)))
}

/// Makes rings so deep, all at once as the paths will have them, and lets go of them: each may fit
/// the limit on locked memory and all together not.
private func makeRings(_ depths: ArraySlice<Int>, _ mode: RingMode?) throws(RingRefusal) {
  guard let depth = depths.first else { return }
  let ring = try Ring(entries: depth, mode: mode)
  try makeRings(depths.dropFirst(), mode)
  extendLifetime(ring)
}
