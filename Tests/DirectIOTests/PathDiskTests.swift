import DirectIO
import Glibc
import PinnedMemory
import Testing

/// Order, turns and paths, with queues that carry nothing out: the test sees what is begun and
/// gives the answers.
@Suite struct PathDiskTests {
  let scratch = Scratch()
  let memory = Memory(pages: 64)

  /// A disk over the directories `a` and `b`, one page a request.
  private func disk(
    depth: Int, mixing: Mixing = .interleaved, _ scripts: Scripts
  ) throws -> (PathDisk<ScriptedQueue>, [DiskFile]) {
    let disk = PathDisk<ScriptedQueue>(
      DiskSettings(
        standard: PathSettings(requestBytes: 4096, queueDepth: depth, mixing: mixing))
    ) { directory, _ in ScriptedQueue(script: scripts[directory]) }
    let files = try ["a", "b"].map { name in
      unsafe mkdir(scratch.file(name), 0o700)
      return try disk.openFile(scratch.file("\(name)/data"), byteCount: 64 * 4096, .create)
    }
    return (disk, files)
  }

  private func transfer(
    _ kind: Transfer.Kind, _ file: DiskFile, page: Int, pages: Int = 1,
    _ priority: Transfer.Priority
  ) -> Transfer {
    Transfer(
      kind, file, offset: page * 4096, memory: memory.pages(page..<page + pages), tag: UInt64(page),
      priority: priority)
  }

  @Test func demandGoesBeforePrefetchBeforeWriteBack() throws {
    let scripts = Scripts(scratch)
    let (disk, files) = try disk(depth: 1, scripts)
    disk.submit(transfer(.write, files[0], page: 0, .writeBack))
    disk.submit(transfer(.read, files[0], page: 1, pages: 2, .prefetch))
    disk.submit(transfer(.read, files[0], page: 3, .demand))
    disk.start()
    #expect(scripts.a.answerAll(disk) == [3, 1, 2, 0])
  }

  /// What runs already is not stopped, but nothing else goes before.
  @Test func aPrefetchSomebodyWaitsForIsPromoted() throws {
    let scripts = Scripts(scratch)
    let (disk, files) = try disk(depth: 1, scripts)
    disk.submit(transfer(.read, files[0], page: 0, pages: 2, .prefetch))
    disk.submit(transfer(.read, files[0], page: 2, .prefetch))
    disk.submit(transfer(.read, files[0], page: 3, pages: 2, .prefetch))
    disk.start()
    disk.promote(tag: 3)
    #expect(scripts.a.answerAll(disk) == [0, 3, 4, 1, 2])
  }

  /// In turns, writes begin when the reads under way have ended; demand waits for no turn.
  @Test func alternatedPathsReadAndWriteInTurns() throws {
    let scripts = Scripts(scratch)
    let (disk, files) = try disk(depth: 8, mixing: .alternated, scripts)
    for page in 0..<3 { disk.submit(transfer(.read, files[0], page: page, .prefetch)) }
    for page in 3..<6 { disk.submit(transfer(.write, files[0], page: page, .writeBack)) }
    disk.start()
    #expect(scripts.a.begun == [0, 1, 2])
    scripts.a.answer(2)
    #expect(disk.nextCompletion(wait: false)?.tag == 0)
    disk.start()
    #expect(scripts.a.begun == [0, 1, 2])
    scripts.a.answer(1)
    while disk.nextCompletion(wait: false) != nil {}
    #expect(scripts.a.begun == [0, 1, 2, 3, 4, 5])
    disk.submit(transfer(.read, files[0], page: 7, .prefetch))
    disk.submit(transfer(.read, files[0], page: 8, .demand))
    disk.start()
    #expect(scripts.a.begun == [0, 1, 2, 3, 4, 5, 8])
    _ = scripts.a.answerAll(disk)
    #expect(scripts.a.begun.last == 7)
  }

  /// A path that answers nothing keeps its own places only.
  @Test func aSlowPathDoesNotHoldTheOther() throws {
    let scripts = Scripts(scratch)
    let (disk, files) = try disk(depth: 2, scripts)
    for page in 0..<8 {
      disk.submit(transfer(.read, files[page % 2], page: page, .prefetch))
    }
    disk.start()
    #expect(scripts.a.begun == [0, 2])
    #expect(scripts.b.answerAll(disk) == [1, 3, 5, 7])
    #expect(scripts.a.begun == [0, 2])
    #expect(disk.inFlight == 4)
    let counters = disk.pathCounters
    #expect(counters.map(\.counters.bytesRead) == [0, 4 * 4096])
    #expect(counters.map(\.directory) == [scratch.file("a"), scratch.file("b")])
    _ = scripts.a.answerAll(disk)
  }

  @Test func aFailingPathIsNamed() throws {
    let scripts = Scripts(scratch)
    let (disk, files) = try disk(depth: 2, scripts)
    disk.submit(transfer(.read, files[0], page: 0, .demand))
    disk.submit(transfer(.write, files[1], page: 1, .writeBack))
    disk.start()
    scripts.a.answer(1)
    for _ in 0...Request.errorsAllowed {
      scripts.b.answer(1, with: Int(-EIO))
      disk.start()
    }
    var completions: [Completion] = []
    while let completion = disk.nextCompletion(wait: false) { completions.append(completion) }
    #expect(completions.count == 2)
    let failed = completions.filter { $0.failure != nil }
    #expect(failed.map(\.tag) == [1])
    let failure = try #require(failed.first?.failure)
    #expect(failure.path == scratch.file("b/data") && failure.offset == 4096)
    #expect(failure.code == EIO && failure.description.contains(scratch.file("b/data")))
  }
}

/// What was begun on one path, by page, and the answers to come.
private final class Script {
  private(set) var begun: [Int] = []
  private var waiting: [(tag: Int, request: Request)] = []
  fileprivate var answers: [(tag: Int, result: Int)] = []

  fileprivate func begin(_ request: Request, _ tag: Int) {
    begun.append(request.offset / 4096)
    waiting.append((tag, request))
  }

  /// Answers the oldest requests, in full when no result is given.
  func answer(_ count: Int, with result: Int? = nil) {
    for (tag, request) in waiting.prefix(count) {
      answers.append((tag, result ?? request.memory.byteCount))
    }
    waiting.removeFirst(min(count, waiting.count))
  }

  /// Answers everything, one by one, as long as more is begun for it.
  /// - Returns: the pages that were begun, in order.
  func answerAll(_ disk: any Disk) -> [Int] {
    while !waiting.isEmpty {
      answer(1)
      while disk.nextCompletion(wait: false) != nil {}
    }
    return begun
  }
}

private struct Scripts {
  let a = Script()
  let b = Script()
  private let directory: String

  init(_ scratch: Scratch) { directory = scratch.file("a") }
  subscript(path: String) -> Script { path == directory ? a : b }
}

private struct ScriptedQueue: RequestQueue, ~Copyable {
  static var engine: String { "scripted" }
  let script: Script

  mutating func register(_ file: OpenFile) {}
  mutating func register(_ memory: PinnedSlice) -> Int { 0 }
  mutating func unregister(_ memory: PinnedSlice) -> Int { 0 }
  mutating func prepare(_ request: Request, tag: Int) { script.begin(request, tag) }
  mutating func enter(wait: Bool) {
    precondition(!wait || isReady, "nobody would wake the test")
  }
  mutating func nextAnswer() -> (tag: Int, result: Int)? {
    script.answers.isEmpty ? nil : script.answers.removeFirst()
  }
  mutating func notify(_ event: EventDescriptor) throws(DiskError) {}
  var isReady: Bool { !script.answers.isEmpty }
  mutating func close() {}
}
