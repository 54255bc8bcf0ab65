import Base
import DirectIO
import Glibc
import PinnedMemory

/// The scratch file of a probe, open once for every request size and depth, and nameless.
final class ScratchFile {
  /// One way to use the file.
  struct Session {
    let requestBytes: Int
    let queueDepth: Int
    let disk: any Disk
    let file: DiskFile
  }

  let byteCount: Int
  private(set) var sessions: [Session] = []
  private(set) var notes: [String] = []
  private(set) var pagesChecked = 0
  private(set) var checksum: UInt64 = 0
  let isDirect: Bool

  private let path: String
  private let pages: ScratchPages
  private let random: Philox
  /// What writes write and reads fill. Reused by all transfers, as a pager's slots are: on virtual
  /// machines the rate depends on it.
  private let (sources, targets): (ProbeMemory, ProbeMemory)
  private let rawSources: [ProbeMemory]
  private let rawTargets: [ProbeMemory]
  /// For the ceiling, which knows no engine.
  private let descriptor: Int32

  init(_ probe: DiskProbe, byteCount: Int) throws(ProbeError) {
    self.byteCount = byteCount
    path = "\(probe.directory)/pagoda-probe-\(getpid())-\(probe.seed).tmp"
    pages = ScratchPages(seed: probe.seed)
    random = Philox(seed: probe.seed, purpose: .test)
    let largest = probe.requestBytes.max()!
    let windowBytes = largest * probe.queueDepths.max()!
    (sources, targets) = (ProbeMemory(byteCount: windowBytes), ProbeMemory(byteCount: windowBytes))
    pages.fill(sources.slice)
    rawSources = (0..<RawLoop.threadCount).map { _ in ProbeMemory(byteCount: largest) }
    rawTargets = (0..<RawLoop.threadCount).map { _ in ProbeMemory(byteCount: largest) }
    for memory in rawSources { pages.fill(memory.slice) }

    let opened = try Self.openSessions(probe, path: path, byteCount: byteCount)
    sessions = opened.sessions
    descriptor = opened.descriptor
    isDirect = sessions[0].disk.isDirect(sessions[0].file)
    notes = opened.note.map { [$0] } ?? []
    if !isDirect {
      notes.append(
        "the file system has no O_DIRECT: figures are those of the page cache, not the disk's")
    }
    for session in sessions {
      session.disk.register(sources.slice)
      session.disk.register(targets.slice)
    }
  }

  deinit {
    for session in sessions { session.disk.close() }
    _ = Glibc.close(descriptor)
  }

  private static func openSessions(
    _ probe: DiskProbe, path: String, byteCount: Int
  ) throws(ProbeError) -> (sessions: [Session], descriptor: Int32, note: String?) {
    var sessions: [Session] = []
    var note: String?
    // Only a file made here is removed: an older one of this name makes the creation fail.
    defer { if !sessions.isEmpty { unsafe _ = unlink(path) } }
    do throws(DiskError) {
      for requestBytes in probe.requestBytes {
        for queueDepth in probe.queueDepths {
          let opened = openDisk(
            preferring: probe.preference, queueDepth: queueDepth, requestBytes: requestBytes)
          note = opened.note
          let file = try opened.disk.openFile(
            path, byteCount: byteCount, sessions.isEmpty ? .create : .readWrite)
          sessions.append(
            Session(
              requestBytes: requestBytes, queueDepth: queueDepth, disk: opened.disk, file: file))
        }
      }
    } catch { throw .disk(error) }
    let descriptor = unsafe open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { throw .disk(DiskError(.open, path: path, errno: errno)) }
    if sessions[0].disk.isDirect(sessions[0].file) {
      _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_DIRECT)
    }
    return (sessions, descriptor, note)
  }
}

// MARK: - Runs

extension ScratchFile {
  /// Writes every page once. Reads of blocks never written would be answered without the drive.
  func fill() throws(ProbeError) {
    let session = sessions[0]
    var next = 0
    let requests = byteCount / session.requestBytes
    _ = try pump(session) {
      guard next < requests else { return nil }
      defer { next += 1 }
      return (.write, next)
    }
  }

  /// Runs one phase for about `duration`. GB/s, the sync after writes included.
  func run(
    _ phase: ProbePhase, _ session: Session, round: Int, for duration: Duration
  ) throws(ProbeError) -> Double {
    if phase == .ceilingRead || phase == .ceilingWrite {
      return try runCeiling(session, isWrite: phase == .ceilingWrite, for: duration)
    }
    let deadline = ContinuousClock().now + duration
    let requests = byteCount / session.requestBytes
    var count = 0
    return try pump(session) {
      // One request at least, so that there is a rate.
      guard count == 0 || ContinuousClock().now < deadline else { return nil }
      defer { count += 1 }
      return self.access(phase, count, of: requests, round: round)
    }
  }

  private func runCeiling(
    _ session: Session, isWrite: Bool, for duration: Duration
  ) throws(ProbeError) -> Double {
    let result = RawLoop.run(
      descriptor, requestBytes: session.requestBytes, fileBytes: byteCount, isWrite: isWrite, pages,
      isWrite ? rawSources : rawTargets, for: duration)
    guard result.errno == 0 else {
      throw .disk(DiskError(isWrite ? .write : .read, path: path, errno: result.errno))
    }
    return Double(result.bytes) / (result.duration / .seconds(1)) / 1e9
  }

  /// The `count`-th access of a phase: what to do with which request-sized piece of the file.
  private func access(
    _ phase: ProbePhase, _ count: Int, of requests: Int, round: Int
  ) -> (Transfer.Kind, Int) {
    let any = { (bound: Int) in
      self.random.below(bound, UInt32(phase.rawValue) | UInt32(round) << 8, UInt32(count), 1)
    }
    switch phase {
    case .sequentialRead: return (.read, count % requests)
    case .sequentialWrite: return (.write, count % requests)
    case .randomRead: return (.read, any(requests))
    case .randomWrite: return (.write, any(requests))
    case .mix: return (count % 2 == 0 ? .read : .write, any(requests))
    case .ceilingRead, .ceilingWrite: preconditionFailure("the ceiling does without the engine")
    }
  }

  /// Keeps the queue full with what `next` says until it says nil, then drains and syncs. No piece
  /// of the file is used twice at once: what it would hold is then a matter of luck.
  ///
  /// - Returns: GB/s.
  private func pump(
    _ session: Session, _ next: () -> (kind: Transfer.Kind, piece: Int)?
  ) throws(ProbeError) -> Double {
    let disk = session.disk
    let start = ContinuousClock().now
    let before = disk.counters
    var busy = [(kind: Transfer.Kind, piece: Int)?](repeating: nil, count: session.queueDepth)
    var waiting = next()
    while waiting != nil || disk.inFlight > 0 {
      if let access = waiting, let slot = busy.firstIndex(where: { $0 == nil }),
        !busy.contains(where: { $0?.piece == access.piece })
      {
        busy[slot] = access
        begin(access.kind, access.piece, slot, session)
        waiting = next()
        continue
      }
      guard let completion = disk.nextCompletion(wait: true) else { continue }
      if let failure = completion.failure { throw .disk(failure) }
      let slot = Int(completion.tag)
      if let access = busy[slot], access.kind == .read {
        try check(slot, access.piece, session.requestBytes)
      }
      busy[slot] = nil
    }
    let moved = disk.counters - before
    if moved.bytesWritten > 0 {
      do { try disk.sync(session.file) } catch { throw .disk(error) }
    }
    let seconds = (ContinuousClock().now - start) / .seconds(1)
    return Double(moved.bytesRead + moved.bytesWritten) / seconds / 1e9
  }

  private func begin(_ kind: Transfer.Kind, _ piece: Int, _ slot: Int, _ session: Session) {
    let unit = session.requestBytes
    let memory = (kind == .read ? targets : sources).part(from: slot * unit, byteCount: unit)
    if kind == .write {
      let pageBytes = ScratchPages.pageBytes
      pages.stamp(memory, firstPage: piece * unit / pageBytes, origin: slot * unit / pageBytes)
    }
    session.disk.submit(
      Transfer(kind, session.file, offset: piece * unit, memory: memory, tag: UInt64(slot)))
  }

  /// Compares one page of a piece that was read, another at each turn.
  private func check(_ slot: Int, _ piece: Int, _ unit: Int) throws(ProbeError) {
    let pageBytes = ScratchPages.pageBytes
    let page = random.below(unit / pageBytes, 255, UInt32(truncatingIfNeeded: pagesChecked), 2)
    let memory = targets.part(from: slot * unit + page * pageBytes, byteCount: pageBytes)
    guard let sum = pages.check(memory, page: piece * unit / pageBytes + page) else {
      throw .wrongData(path: path, offset: piece * unit + page * pageBytes)
    }
    pagesChecked += 1
    checksum &+= sum
  }
}
