import DirectIO
import Glibc
import Planning
import Testing

/// An empty directory of one test.
private final class Directory {
  let path: String

  init() {
    var template = Array("/tmp/pagoda-probe-XXXXXX".utf8CString)
    unsafe template.withUnsafeMutableBufferPointer { unsafe _ = mkdtemp($0.baseAddress!) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
  /// Fails, and leaves the directory, when a file was left behind.
  func remove() -> Bool { unsafe rmdir(path) == 0 }
}

@Suite struct DiskProbeTests {
  /// Tiny, so that the benchmark cannot rot: every kind of access happens and what is read is
  /// checked.
  @Test(arguments: [EnginePreference.automatic, .threads])
  func aTinyProbeMeasuresEverything(_ preference: EnginePreference) throws {
    let directory = Directory()
    var probe = DiskProbe(
      directory: directory.path, fileBytes: 3 << 20, seconds: 0.1,
      requestBytes: [1 << 16, 1 << 20],
      queueDepths: [1, 8])
    probe.rounds = 2
    probe.preference = preference
    let report = try probe.run()

    #expect(directory.remove(), "the scratch file is gone")
    #expect(report.rows.map(\.requestBytes) == [1 << 16, 1 << 16, 1 << 20, 1 << 20])
    #expect(report.rows.map(\.queueDepth) == [1, 8, 1, 8])
    for row in report.rows {
      let rates = [
        row.sequentialRead, row.sequentialWrite, row.randomRead, row.randomWrite, row.mix,
        row.ceilingRead, row.ceilingWrite,
      ]
      #expect(rates.allSatisfy { 0 < $0.low && $0.low <= $0.median && $0.median <= $0.high })
    }
    #expect(report.scratchBytes == 3 << 20)
    #expect(report.pagesChecked > 20)
    #expect(report.checksum != 0)
    #expect(report.bytesWritten > report.scratchBytes && report.bytesRead > 0)
    #expect(report.isDirect == report.notes.allSatisfy { !$0.contains("O_DIRECT") })
  }

  @Test func aMissingDirectoryIsNamed() {
    let probe = DiskProbe(directory: "/tmp/pagoda-no-such-place", fileBytes: 1 << 20, seconds: 0.1)
    let error = #expect(throws: ProbeError.self) { try probe.run() }
    #expect(error?.description.contains("/tmp/pagoda-no-such-place") == true)
    #expect(error?.description.contains("not a directory") == true)
  }

  @Test func missingSpaceIsToldInNumbers() throws {
    let directory = Directory()
    let probe = DiskProbe(directory: directory.path, fileBytes: 1 << 50, seconds: 0.1)
    let error = try #require(#expect(throws: ProbeError.self) { try probe.run() })
    guard case .noSpace(_, let needed, let free) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(needed == 1 << 50 && free < needed)
    #expect(directory.remove())
  }

  @Test func ratesAreMedians() {
    let odd = SwapReport.Rate([3, 1, 2])
    #expect(odd.median == 2 && odd.low == 1 && odd.high == 3)
    #expect(SwapReport.Rate([4, 1, 2, 3]).median == 2.5)
  }
}
