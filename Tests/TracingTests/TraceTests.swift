import Base
import Testing
import Tracing

@Suite struct TraceTests {
  private let recorder = TraceRecorder(.init(blocks: 4, layers: 2, workers: 2))

  private func records(_ track: TraceTrack) -> [TraceRecord] {
    var all: [TraceRecord] = []
    track.drain { all.append($0) }
    return all
  }

  /// A span lies inside the one in which it began, and comes after it.
  @Test func spansNest() {
    let trace = Trace(recorder)
    recorder.isRecording = true
    let layer = trace.begin(.layer, detail: 1, subject: 3)
    let value = trace.span(.router) { 17 }
    trace.stall(.write, isUnplanned: true, for: nil, from: nanoseconds(), to: nanoseconds())
    layer.end()
    let found = records(recorder.training)
    #expect(value == 17 && found.map(\.name) == [.layer, .router, .routerStall])
    #expect(found[0].subject == 3 && found[0].detail == 1 && found[2].subject == -1)
    for inner in found[1...] {
      #expect(found[0].start <= inner.start && inner.end <= found[0].end)
    }
    #expect(found[1].end <= found[2].start)
    #expect(records(recorder.training).isEmpty)
  }

  private struct Stop: Error {}

  /// What is left by an error has ended all the same.
  @Test func anErrorEndsItsSpans() {
    let trace = Trace(recorder)
    recorder.isRecording = true
    #expect(throws: Stop.self) {
      let step = trace.begin(.step)
      try trace.span(.forward) { throw Stop() }
      step.end()
    }
    #expect(records(recorder.training).map(\.name) == [.step, .forward])
  }

  /// Nothing is recorded while the recorder is off, but the end of what began while it was on.
  @Test func transfersOutliveTheRecording() {
    let trace = Trace(recorder)
    trace.span(.loss) {}
    #expect(!trace.isRecording && records(recorder.training).isEmpty)
    let block = BlockID.expert(layer: 1, 2, slice: 3)
    trace.transfer(
      .write, subject: block.rawValue, planes: 0b1110, byteCount: 4096, file: 5, hasFailed: true,
      from: 10,
      to: 20)
    trace.levels(bytesRead: 1, bytesWritten: 2, weightFrames: 3, stateFrames: 4)
    let found = records(recorder.transfers)
    #expect(found.count == 1 && found[0].name == .write && found[0].amount == 4096)
    #expect(found[0].subject == block.rawValue && found[0].place == 5)
    #expect(found[0].detail == TraceRecord.failedBit | 0b1110)
    #expect(records(recorder.levels).isEmpty)
    Trace.off.span(.loss) {}
    #expect(!Trace.off.isRecording)
  }

  /// A track keeps what it has room for, and counts the rest.
  @Test func aFullTrackCountsWhatItDrops() {
    let track = TraceTrack(capacity: 3)
    for time in [5, 1, 3, 2, 4] as [UInt64] {
      track.append(TraceRecord(.loop, from: time, to: time + 1))
    }
    #expect(records(track).map(\.start) == [1, 3, 5] && track.dropped == 2)
    track.append(TraceRecord(.loop, from: 9, to: 9))
    #expect(records(track).map(\.start) == [9] && track.dropped == 2)
  }

  /// Of records that begin together the longer one encloses the other.
  @Test func enclosingRecordsComeFirst() {
    let track = TraceTrack(capacity: 4)
    track.append(TraceRecord(.router, from: 7, to: 8))
    track.append(TraceRecord(.layer, from: 7, to: 9))
    track.append(TraceRecord(.step, from: 7, to: 12))
    #expect(records(track).map(\.name) == [.step, .layer, .router])
  }

  @Test func aWorkerWithoutATaskLeavesNoMark() {
    recorder.loop(worker: 1, tasks: 0, from: 1, to: 2)
    recorder.loop(worker: 1, tasks: 4, from: 3, to: 5)
    #expect(records(recorder.workers[0]).isEmpty)
    #expect(records(recorder.workers[1]).map(\.amount) == [4])
  }

  /// The bytes that are granted are those of the tracks, and of sorting them.
  @Test func capacityIsCounted() {
    let capacity = TraceRecorder.Capacity(blocks: 100, layers: 8, workers: 0)
    let more = TraceRecorder.Capacity(blocks: 100, layers: 8, workers: 3)
    #expect(MemoryLayout<TraceRecord>.stride == 40)
    #expect(capacity.byteCount % 60 == 0 && capacity.byteCount < 1 << 20)
    #expect((more.byteCount - capacity.byteCount) % 3 == 0 && more.byteCount > capacity.byteCount)
  }
}
