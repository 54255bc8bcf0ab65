import Base
package import DirectIO
import Glibc
package import PinnedMemory

/// A queue to a real disk that behaves badly, by seed: it takes fewer requests than it is offered,
/// moves less than it was asked to, says EINTR, EAGAIN and EIO, and keeps answers back to hand them
/// out late and in any order.
///
/// What it does to a request depends on how many it has had; the real queue below it decides when.
package struct TroubledQueue<Base: RequestQueue & ~Copyable>: RequestQueue, ~Copyable {
  private struct Answer {
    let tag: Int
    let result: Int
    /// The look at which it is handed out.
    let due: Int
  }

  package static var engine: String { "troubled \(Base.engine)" }

  private var base: Base
  private let random: Philox
  private let record: Mischief
  /// EIO given in a row, by tag: fewer than engines bear.
  private var errors: [Int: Int] = [:]
  private var answers: [Answer] = []
  /// Prepared and not yet taken.
  private var offered: [(request: Request, tag: Int)] = []
  private var requests: UInt32 = 0
  private var entries: UInt32 = 0
  private var looks = 0

  /// - Parameter record: counts what is done to requests.
  package init(_ base: consuming Base, seed: UInt64, record: Mischief) {
    self.base = base
    self.record = record
    random = Philox(seed: seed, purpose: .test)
  }

  package mutating func register(_ file: OpenFile) { base.register(file) }
  package mutating func register(_ memory: PinnedSlice) -> Int { base.register(memory) }
  package mutating func unregister(_ memory: PinnedSlice) -> Int { base.unregister(memory) }
  package mutating func notify(_ event: EventDescriptor) throws(DiskError) {
    try base.notify(event)
  }
  package mutating func close() { base.close() }

  package mutating func prepare(_ request: Request, tag: Int) {
    requests += 1
    switch draw(8, .fate) {
    case 0: refuse(tag)
    case 1, 2: offered.append((shortened(request), tag))
    default: offered.append((request, tag))
    }
  }

  package mutating func enter(wait: Bool) {
    entries += 1
    let taken =
      offered.isEmpty ? 0 : 1 + random.below(offered.count, Draw.taken.rawValue, entries, 0)
    for (request, tag) in offered.prefix(taken) { base.prepare(request, tag: tag) }
    offered.removeFirst(taken)
    if !offered.isEmpty { record.add(\.partial) }
    // Somebody who waits is given what is kept back before the disk is asked for more.
    base.enter(wait: wait && answers.isEmpty && offered.isEmpty)
    if wait { looks = max(looks, answers.map(\.due).min() ?? 0) }
  }

  package mutating func nextAnswer() -> (tag: Int, result: Int)? {
    looks += 1
    while let (tag, result) = base.nextAnswer() {
      errors[tag] = nil
      keep(tag, result)
    }
    let ready = answers.indices.filter { answers[$0].due <= looks }
    guard !ready.isEmpty else { return nil }
    let chosen = random.below(ready.count, Draw.order.rawValue, UInt32(looks), requests)
    let answer = answers.remove(at: ready[chosen])
    return (answer.tag, answer.result)
  }

  package var isReady: Bool { base.isReady || !answers.isEmpty || !offered.isEmpty }

  private func draw(_ bound: Int, _ what: Draw) -> Int {
    random.below(bound, what.rawValue, requests, 0)
  }

  private mutating func keep(_ tag: Int, _ result: Int) {
    let late = random.below(6, Draw.delay.rawValue, requests, UInt32(tag))
    if late > 0 { record.add(\.late) }
    answers.append(Answer(tag: tag, result: result, due: looks + late))
  }

  /// An errno instead of a transfer; EIO no more often in a row than engines repeat.
  private mutating func refuse(_ tag: Int) {
    let codes = [EINTR, EAGAIN, EIO]
    var code = codes[draw(codes.count, .errno)]
    if code == EIO {
      errors[tag, default: 0] += 1
      if errors[tag, default: 0] >= Request.errorsAllowed { code = EAGAIN }
    }
    record.add(\.refused)
    keep(tag, Int(-code))
  }

  /// The request's first part, so that the disk really moves no more.
  private func shortened(_ request: Request) -> Request {
    let unit = request.file.alignment
    let units = request.memory.byteCount / unit
    guard units > 1 else { return request }
    record.add(\.short)
    let byteCount = (1 + draw(units - 1, .length)) * unit
    return Request(
      request.kind, request.file, row: request.row, offset: request.offset,
      memory: unsafe PinnedSlice(address: request.memory.address, byteCount: byteCount))
  }
}

/// What troubled queues did, counted across them.
///
/// @unchecked Sendable: the thread of their disk counts; others look when the disk has nothing
/// under way.
package final class Mischief: @unchecked Sendable {
  package fileprivate(set) var short = 0
  package fileprivate(set) var refused = 0
  package fileprivate(set) var late = 0
  package fileprivate(set) var partial = 0

  package init() {}

  fileprivate func add(_ what: ReferenceWritableKeyPath<Mischief, Int>) {
    self[keyPath: what] += 1
  }
}
