import PinnedMemory

/// The requests of one path that wait for a place in its queue, and which of them is next.
///
/// Demand before prefetch before write-back; where a drive does better so, prefetch and write-back
/// in turns instead of together. Demand waits for no turn.
struct Backlog {
  /// Long enough to hide the change of direction, short enough that neither side runs dry: a few
  /// records.
  static let turnBytes = 32 << 20

  private let mixing: Mixing
  private var queues: [Fifo<Request>]
  /// Whose turn it is, and the bytes that it had.
  private var turn = Transfer.Kind.read
  private var bytesOfTurn = 0
  /// Requests under way, by direction.
  private var readsUnderWay = 0
  private var writesUnderWay = 0

  init(_ mixing: Mixing) {
    self.mixing = mixing
    queues = Transfer.Priority.allCases.map { _ in Fifo() }
  }

  var isEmpty: Bool { queues.allSatisfy(\.isEmpty) }

  mutating func append(_ request: Request, _ priority: Transfer.Priority) {
    queues[priority.rawValue].append(request)
  }

  /// Moves the requests of one transfer to the head of all.
  mutating func promote(row: Int) {
    for priority in [Transfer.Priority.prefetch, .writeBack] {
      for request in queues[priority.rawValue].removeAll(where: { $0.row == row }) {
        queues[Transfer.Priority.demand.rawValue].append(request)
      }
    }
  }

  /// The request to start now; nil when none waits, or those that wait must wait for their turn.
  mutating func next() -> Request? {
    guard let request = chosen() else { return nil }
    switch request.kind {
    case .read: readsUnderWay += 1
    case .write: writesUnderWay += 1
    }
    return request
  }

  mutating func ended(_ kind: Transfer.Kind) {
    switch kind {
    case .read: readsUnderWay -= 1
    case .write: writesUnderWay -= 1
    }
  }

  private mutating func chosen() -> Request? {
    if let request = pop(.demand) { return request }
    switch mixing {
    case .interleaved: return pop(.prefetch) ?? pop(.writeBack)
    case .alternated: return nextOfTurn()
    }
  }

  private mutating func nextOfTurn() -> Request? {
    let (own, other) =
      turn == .read
      ? (Transfer.Priority.prefetch, Transfer.Priority.writeBack) : (.writeBack, .prefetch)
    let isOtherWaiting = !queues[other.rawValue].isEmpty
    if bytesOfTurn < Self.turnBytes || !isOtherWaiting, let request = pop(own) {
      bytesOfTurn += request.memory.byteCount
      return request
    }
    guard isOtherWaiting, (turn == .read ? readsUnderWay : writesUnderWay) == 0 else { return nil }
    turn = turn == .read ? .write : .read
    let request = pop(other)
    bytesOfTurn = request?.memory.byteCount ?? 0
    return request
  }

  private mutating func pop(_ priority: Transfer.Priority) -> Request? {
    queues[priority.rawValue].popFirst()
  }
}
