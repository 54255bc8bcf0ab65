import Base
package import DirectIO
import Glibc
import PinnedMemory

/// Measures how fast a directory's drive swaps, through the engine that training uses.
///
/// A scratch file of random data is read and written in rounds: every round does every kind of
/// access at every request size and depth, so that a change of the machine's mood hits all alike.
/// What is read is checked against what was written. The file loses its name as soon as it is
/// open, so that nothing stays behind however the probe ends.
package struct DiskProbe: Sendable {
  package var directory: String
  /// Of the scratch file; larger than any cache of the drive says more.
  package var fileBytes: Int
  /// For all measurements together, filling the file aside.
  package var seconds: Double
  package var requestBytes: [Int]
  package var queueDepths: [Int]
  package var rounds = 3
  package var preference = EnginePreference.automatic
  package var seed: UInt64 = 1

  package init(
    directory: String, fileBytes: Int, seconds: Double, requestBytes: [Int] = [1 << 20],
    queueDepths: [Int] = [32]
  ) {
    self.directory = directory
    self.fileBytes = fileBytes
    self.seconds = seconds
    self.requestBytes = requestBytes
    self.queueDepths = queueDepths
  }

  /// - Throws: `ProbeError` when the directory is missing or too full, when the disk fails, or
  ///   when it does not give back what was written.
  package func run() throws(ProbeError) -> SwapReport {
    let largest = requestBytes.max() ?? 0
    precondition(largest > 0 && !queueDepths.isEmpty && rounds > 0, "there is something to measure")
    precondition(requestBytes.allSatisfy { $0 % 4096 == 0 && $0 > 0 }, "requests are whole pages")
    // The mix reads one half and writes the other: each half holds a request at least.
    let byteCount = max(roundUp(fileBytes, to: largest), 2 * largest)
    try checkRoom(byteCount)

    let scratch = try ScratchFile(self, byteCount: byteCount)
    try scratch.fill()
    let samples = try measure(scratch)
    return report(scratch, samples)
  }

  private func checkRoom(_ byteCount: Int) throws(ProbeError) {
    var status = stat()
    guard unsafe stat(directory, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw .noDirectory(path: directory)
    }
    guard let free = freeBytes(of: directory), free < byteCount else { return }
    throw .noSpace(path: directory, needed: byteCount, free: free)
  }

  /// - Returns: GB/s by row, phase and round.
  private func measure(_ scratch: ScratchFile) throws(ProbeError) -> [[[Double]]] {
    let phases = ProbePhase.allCases
    let turns = scratch.sessions.count * phases.count * rounds
    let duration = Duration.seconds(seconds / Double(turns))
    var samples = Array(
      repeating: Array(repeating: [Double](), count: phases.count), count: scratch.sessions.count)
    for round in 0..<rounds {
      for (row, session) in scratch.sessions.enumerated() {
        for (index, phase) in phases.enumerated() {
          let rate = try scratch.run(phase, session, round: round, for: duration)
          samples[row][index].append(rate)
        }
      }
    }
    return samples
  }

  private func report(_ scratch: ScratchFile, _ samples: [[[Double]]]) -> SwapReport {
    let rows = zip(scratch.sessions, samples).map { session, samples in
      let rate = { (phase: ProbePhase) in SwapReport.Rate(samples[phase.rawValue]) }
      return SwapReport.Row(
        requestBytes: session.requestBytes, queueDepth: session.queueDepth,
        sequentialRead: rate(.sequentialRead), sequentialWrite: rate(.sequentialWrite),
        randomRead: rate(.randomRead), randomWrite: rate(.randomWrite), mix: rate(.mix),
        ceilingRead: rate(.ceilingRead), ceilingWrite: rate(.ceilingWrite))
    }
    let counters = scratch.sessions.map(\.disk.counters)
    return SwapReport(
      directory: directory, engine: scratch.sessions[0].disk.engine, notes: scratch.notes,
      isDirect: scratch.isDirect, scratchBytes: scratch.byteCount, rounds: rounds,
      ceiling: "\(RawLoop.threadCount) threads calling pread or pwrite"
        + (scratch.isDirect ? " with O_DIRECT" : ""),
      rows: rows, bytesRead: counters.reduce(0) { $0 + $1.bytesRead },
      bytesWritten: counters.reduce(0) { $0 + $1.bytesWritten },
      pagesChecked: scratch.pagesChecked, checksum: scratch.checksum, seed: seed)
  }
}

/// What is measured; the order within a round, reads and writes in turn.
enum ProbePhase: Int, CaseIterable {
  case sequentialRead, sequentialWrite, mix, randomRead, randomWrite, ceilingRead, ceilingWrite
}

/// Bytes that a directory's file system has free for this user; nil when it does not say.
func freeBytes(of directory: String) -> Int? {
  var status = statvfs()
  guard unsafe statvfs(directory, &status) == 0 else { return nil }
  return Int(status.f_bavail) * Int(status.f_frsize)
}
