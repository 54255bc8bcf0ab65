import Base
import Kernels
import Synchronization
import Testing
import Tracing

@Suite struct WorkersTests {
  /// Goal: every index exactly once, for many loops in a row, short and long, so that threads
  /// asleep, spinning and late all occur.
  @Test(arguments: [1, 2, 3, 5]) func everyIndexRunsOnce(threads: Int) {
    let workers = Workers(count: threads)
    let hits = Matrix(rows: 1, columns: 1000)
    for round in 0..<400 {
      let count = [0, 1, 2, 7, 1000][round % 5]
      workers.forEach(count) { index in hits[0, index] += 1 }
    }
    let expected = (0..<1000).map { Float($0 < 1 ? 320 : $0 < 2 ? 240 : $0 < 7 ? 160 : 80) }
    #expect(hits.values == expected)
  }

  /// Goal: a worker number belongs to one thread at a time, so scratch memory may hang on it.
  @Test func workerNumbersAreExclusive() {
    let workers = Workers(count: 3)
    let inside = (0..<3).map { _ in Flag() }
    let clashes = Atomic<Int>(0)
    workers.forEach(3000) { _, worker in
      if inside[worker].value.exchange(true, ordering: .acquiring) {
        clashes.add(1, ordering: .relaxed)
      }
      inside[worker].value.store(false, ordering: .releasing)
    }
    #expect(clashes.load(ordering: .relaxed) == 0)
  }

  /// Goal: who waits for the end of a loop does what is offered, and so does who waits for the next one.
  @Test(.timeLimit(.minutes(1))) func whoWaitsDoesSpareWork() {
    let workers = Workers(count: 2)
    // Whether the caller had the task that lasts: then the other worker waited for the next loop.
    var seen: Set<Bool> = []
    while seen.count < 2 {
      let done = Atomic<Int>(0)
      let holder = Atomic<Int>(-1)
      let work = SpareWork(100) { _ in done.add(1, ordering: .releasing) }
      workers.offer(work)
      // One task, and nobody else to do what is offered but the worker that has none.
      workers.forEach(2) { index, worker in
        guard index == 0 else { return }
        holder.store(worker, ordering: .relaxed)
        while done.load(ordering: .acquiring) < 100 {}
      }
      #expect(done.load(ordering: .acquiring) == 100)
      seen.insert(holder.load(ordering: .relaxed) == 0)
    }
  }

  /// Goal: what is finished is not kept, whether any worker ever waits or not.
  @Test(arguments: [1, 2]) func finishedWorkIsLetGo(threads: Int) {
    let workers = Workers(count: threads)
    weak var first: SpareWork?
    do {
      let work = SpareWork(3) { _ in }
      first = work
      workers.offer(work)
      work.finish { count, body in for index in 0..<count { body(index) } }
    }
    let next = SpareWork(0) { _ in }
    workers.offer(next)
    #expect(first == nil)
  }

  /// Goal: without anybody who waits it is left to who wants it.
  @Test func spareWorkOfOneWorkerWaits() {
    let workers = Workers(count: 1)
    let done = Atomic<Int>(0)
    let work = SpareWork(5) { _ in done.add(1, ordering: .relaxed) }
    workers.offer(work)
    workers.forEach(100) { _ in }
    #expect(done.load(ordering: .relaxed) == 0)
    work.finish { workers.forEach($0, $1) }
    #expect(done.load(ordering: .relaxed) == 5)
  }

  /// Goal: while a recorder is on, each worker has the loops it took part in, one after another, and
  /// all of them together every task.
  @Test func loopsAreRecorded() {
    let recorder = TraceRecorder(.init(blocks: 10, layers: 1, workers: 3))
    let workers = Workers(count: 3)
    workers.record(with: Trace(recorder))
    workers.forEach(9) { _ in }
    recorder.isRecording = true
    for _ in 0..<100 { workers.forEach(7) { _ in } }
    recorder.isRecording = false
    workers.forEach(9) { _ in }
    var tasks = 0
    for track in recorder.workers {
      var last: UInt64 = 0
      track.drain { loop in
        #expect(loop.name == .loop && last <= loop.start && loop.start <= loop.end)
        (last, tasks) = (loop.end, tasks + Int(loop.amount))
      }
    }
    #expect(tasks == 700 && recorder.dropped == 0)
  }

  @Test func chunksCoverTheRange() {
    let covered = Matrix(rows: 1, columns: 103)
    Workers(count: 2).forEachChunk(of: 103, size: 10) { range in
      for i in range { covered[0, i] = Float(range.lowerBound) }
    }
    #expect(covered.values == (0..<103).map { Float($0 / 10 * 10) })
  }

  /// Goal: a loop for one node runs each index once, on the workers of that node alone; worker 0,
  /// the caller, is of the first.
  @Test(arguments: [2, 3, 5]) func aNodesLoopRunsOnItsWorkers(count: Int) {
    let processor = Affinity.processors().first ?? 0
    let workers = Workers(
      count: count, groups: [7, 8].map { WorkerGroup(node: $0, processors: [processor]) })
    let first = workers.count(on: 7)
    #expect(first >= 1 && first < count && first + workers.count(on: 8) == count)
    for round in 0..<200 {
      for (node, members) in [(7, 0..<first), (8, first..<count)] {
        let hits = Matrix(rows: 1, columns: 64)
        let strangers = Atomic<Int>(0)
        workers.on(node).forEach(round % 2 == 0 ? 64 : 3) { index, worker in
          hits[0, index] += 1
          if !members.contains(worker) { strangers.add(1, ordering: .relaxed) }
        }
        #expect(hits.values.reduce(0, +) == (round % 2 == 0 ? 64 : 3))
        #expect(hits.values.max() == 1 && strangers.load(ordering: .relaxed) == 0)
      }
      let all = Atomic<Int>(0)
      workers.on(nil).forEach(10) { all.add($0, ordering: .relaxed) }
      workers.on(99).forEach(10) { all.add($0, ordering: .relaxed) }
      #expect(all.load(ordering: .relaxed) == 90)
    }
  }

  /// Goal: workers stay on the processors of their group, and the caller is left alone.
  @Test func workersRunWhereTheirGroupDoes() throws {
    let own = Affinity.processors()
    let last = try #require(own.last)
    let workers = Workers(
      count: 4,
      groups: [
        WorkerGroup(node: 0, processors: own), WorkerGroup(node: 1, processors: [last]),
      ])
    let first = workers.count(on: 0)
    let strangers = Atomic<Int>(0)
    for _ in 0..<50 {
      workers.forEach(64) { _, worker in
        let processors = Affinity.processors()
        if processors != (worker < first ? own : [last]) { strangers.add(1, ordering: .relaxed) }
      }
    }
    #expect(strangers.load(ordering: .relaxed) == 0)
    #expect(Affinity.processors() == own)
  }

  @Test func poolsComeAndGo() {
    for _ in 0..<50 {
      let sum = Atomic<Int>(0)
      Workers(count: 3).forEach(10) { sum.add($0, ordering: .relaxed) }
      #expect(sum.load(ordering: .relaxed) == 45)
    }
  }

  /// After each loop of the body; not after the interlude's own, nor later.
  @Test(arguments: [1, 2]) func interludesFollowLoops(threads: Int) {
    let workers = Workers(count: threads)
    let done = Atomic<Int>(0)
    var seen: [Int] = []
    let result = workers.run(
      {
        workers.forEach(3) { _ in done.add(1, ordering: .relaxed) }
        workers.forEach(1) { _ in done.add(1, ordering: .relaxed) }
        return 7
      },
      between: {
        workers.forEach(2) { _ in }
        seen.append(done.load(ordering: .relaxed))
      })
    workers.forEach(2) { _ in }
    #expect(result == 7 && seen == [3, 4])
  }

  /// A short loop inside a task runs where the task does: no place for what belongs to the caller.
  @Test(arguments: [1, 2, 3]) func loopsInsideTasksHaveNoInterlude(threads: Int) {
    let workers = Workers(count: threads)
    let underWay = Atomic<Int>(0)
    var interludes = 0
    workers.run(
      {
        workers.forEach(64) { _ in
          underWay.add(1, ordering: .relaxed)
          workers.forEach(1) { _ in }
          underWay.subtract(1, ordering: .relaxed)
        }
      },
      between: {
        #expect(underWay.load(ordering: .relaxed) == 0)
        interludes += 1
      })
    #expect(interludes == 1)
  }

  @Test func anInterludeWithoutAPoolTraps() async {
    await #expect(processExitsWith: .failure) { Workers.inline.run({}, between: {}) }
  }

  @Test func aLoopInsideALoopTraps() async {
    await #expect(processExitsWith: .failure) {
      let workers = Workers(count: 2)
      workers.forEach(2) { _ in workers.forEach(2) { _ in } }
    }
  }
}

private final class Flag: Sendable {
  let value = Atomic<Bool>(false)
}
