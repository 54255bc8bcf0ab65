import DirectIO
import Planning
import Testing

@Suite struct SweepTests {
  private func cell(_ request: Int, _ depth: Int, _ rate: Double) -> RequestSweep.Cell {
    RequestSweep.Cell(
      requestBytes: request, queueDepth: depth, read: rate, write: 2 * rate, mix: rate)
  }

  @Test func theLeastUnderWayWithinThreePercentIsRecommended() {
    let cells = [
      cell(1 << 20, 1, 1), cell(1 << 20, 8, 3.92), cell(2 << 20, 4, 3.95), cell(1 << 20, 16, 3.99),
      cell(4 << 20, 32, 4), cell(1 << 20, 4, 3.85),
    ]
    let (best, recommended) = RequestSweep.choose(cells)
    #expect(best == cells[4])
    #expect(recommended == cells[1], "8 MiB under way in either; the smaller request")
    #expect(RequestSweep.choose([cells[0]]).recommended == cells[0])
  }

  @Test func aTinySweepMeasuresEveryCell() throws {
    let directory = ScratchDirectory()
    var sweep = RequestSweep(directory: directory.path)
    sweep.fileBytes = 4 << 20
    sweep.seconds = 0.1
    sweep.requestSizes = [64 << 10, 1 << 20]
    sweep.queueDepths = [1, 4, 512]
    let report = try sweep.run()
    #expect(directory.remove(), "the scratch file is gone")
    #expect(report.cells.map(\.requestBytes) == [1 << 16, 1 << 16, 1 << 16, 1 << 20, 1 << 20])
    #expect(report.cells.map(\.queueDepth) == [1, 4, 512, 1, 4], "512 MiB at once is too much")
    #expect(report.cells.allSatisfy { $0.read > 0 && $0.write > 0 && $0.mix > 0 })
    #expect(report.cells.contains(report.best) && report.cells.contains(report.recommended))
    #expect(report.footprintBytes == 32 << 20)
    #expect(report.notes.contains { $0.hasSuffix("under way at once: 1 MiB x 512") })
  }

  /// Sizes and depths of cells that are left out do not count.
  @Test func aRequestThatIsTooLargeIsLeftOutByName() throws {
    let directory = ScratchDirectory()
    var sweep = RequestSweep(directory: directory.path)
    sweep.fileBytes = 1 << 20
    sweep.seconds = 0.05
    sweep.requestSizes = [4 << 10, 512 << 20]
    sweep.queueDepths = [1]
    sweep.engine.hasThread = true
    let report = try sweep.run()
    #expect(directory.remove(), "the scratch file is gone")
    #expect(report.cells.map(\.requestBytes) == [4 << 10] && report.fileBytes == 1 << 20)
    #expect(report.footprintBytes == 4 << 10)
    #expect(report.notes.contains { $0.hasSuffix("under way at once: 512 MiB x 1") })
    #expect(report.hasIOThread == (report.engine != "threads"))

    sweep.requestSizes = [512 << 20]
    #expect(sweep.shapes.isEmpty)
    sweep.requestSizes = [4 << 10]
    #expect(sweep.noteOfShapesLeftOut == nil)
    sweep.footprintBytes = 1 << 50
    let error = #expect(throws: ProbeError.self) { try sweep.run() }
    #expect(error?.description.hasPrefix("the buffers need ") == true)
  }

  /// One lucky round is no reason to leave what suits most drives.
  @Test func theStandardShapeStaysUnlessAnotherIsClearlyBetter() {
    let shapes: [DriveSweep.Shape] = [(1 << 20, 24), (4096, 1), (2 << 20, 12)]
    func chosen(_ rates: [[Double]]) -> Int { DriveSweep.choose(shapes, rates).requestBytes }
    #expect(chosen([[2, 2, 1], [2, 9, 1], [2.1, 2.1, 1.05]]) == 1 << 20)
    #expect(chosen([[2, 2, 1], [1, 1, 1], [2.4, 2.4, 1.2]]) == 2 << 20)
    #expect(chosen([[1, 4, 2], [3, 1, 1], [1, 4, 2]]) == 1 << 20)
  }

  /// The short form: in its time, with all rates, and nothing left.
  @Test func theShortFormFindsRatesInItsTime() throws {
    let directory = ScratchDirectory()
    let start = ContinuousClock().now
    let findings = try #require(try DriveSweep(directory: directory.path, seconds: 0.6).run())
    // A file of 512 MiB is allocated and a third of the time may be spent before parts are counted.
    #expect(ContinuousClock().now - start < .seconds(20))
    #expect(directory.remove(), "the scratch file is gone")
    #expect(findings.requestBytes % 4096 == 0 && findings.queueDepth > 0)
    #expect(findings.requestBytes * findings.queueDepth <= 24 << 20)
    #expect(findings.mixGBps.count == 5 && findings.mixGBps.allSatisfy { $0 > 0 })
    #expect(findings.readGBps == findings.mixGBps[0] && findings.writeGBps == findings.mixGBps[4])
    #expect(findings.alternatedGBps > 0)
  }

  /// Figures of the page cache are nobody's drive.
  @Test func theShortFormFindsNothingInMemory() throws {
    #expect(try DriveSweep(directory: "/dev/shm", seconds: 0.3).run() == nil)
  }

  @Test func theShortFormNamesAMissingDirectory() {
    let error = #expect(throws: ProbeError.self) {
      try DriveSweep(directory: "/tmp/pagoda-no-such-place").run()
    }
    #expect(error?.description.contains("not a directory") == true)
  }
}
