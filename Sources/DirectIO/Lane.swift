import PinnedMemory

/// One path of a disk: what waits, what is under way, and the queue that carries it out.
///
///     add --backlog--> prepare --enter--> kernel
///     <--ended-- verdict <--answer-------+
///                   +--again--> prepare
final class Lane<Queue: RequestQueue & ~Copyable> {
  let directory: String
  let settings: PathSettings
  private(set) var counters = DiskCounters()
  /// Requests under way or waiting.
  private(set) var pending = 0

  private var queue: Queue
  private var backlog: Backlog
  /// By the queue's tag.
  private var underWay: [Request?]
  private var freeTags: [Int]

  init(_ directory: String, _ settings: PathSettings, _ queue: consuming Queue) {
    self.queue = queue
    self.directory = directory
    self.settings = settings
    backlog = Backlog(settings.mixing)
    underWay = Array(repeating: nil, count: settings.queueDepth)
    freeTags = Array((0..<settings.queueDepth).reversed())
  }

  func notify(_ event: EventDescriptor) throws(DiskError) { try queue.notify(event) }
  var isReady: Bool { queue.isReady }

  func register(_ file: OpenFile) { queue.register(file) }
  func register(_ memory: PinnedSlice) -> Int { queue.register(memory) }
  func unregister(_ memory: PinnedSlice) -> Int { queue.unregister(memory) }
  func close() { queue.close() }
  func noteSync() { counters.syncs += 1 }

  func add(_ request: Request, _ priority: Transfer.Priority) {
    pending += 1
    backlog.append(request, priority)
  }

  func promote(row: Int) { backlog.promote(row: row) }

  /// Takes all answers that are there and prepares what may start now.
  func pump(_ transfers: inout TransferTable) {
    while let answer = queue.nextAnswer() { take(answer.tag, answer.result, &transfers) }
    while !freeTags.isEmpty, let request = backlog.next() {
      start(request, freeTags.removeLast())
    }
  }

  func enter(wait: Bool) { queue.enter(wait: wait) }

  private func start(_ request: Request, _ tag: Int) {
    underWay[tag] = request
    queue.prepare(request, tag: tag)
  }

  private func take(_ tag: Int, _ result: Int, _ transfers: inout TransferTable) {
    guard let request = underWay[tag] else { preconditionFailure("an answer has its request") }
    let verdict = request.verdict(result)
    switch verdict {
    case .again(let rest):
      counters.note(request.kind, result: result, repeated: true)
      return start(rest, tag)
    case .done: transfers.requestEnded(row: request.row, failure: nil)
    case .failed(let failure): transfers.requestEnded(row: request.row, failure: failure)
    }
    counters.note(request.kind, result: result, repeated: false)
    backlog.ended(request.kind)
    pending -= 1
    underWay[tag] = nil
    freeTags.append(tag)
  }
}
