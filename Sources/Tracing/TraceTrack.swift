/// Records of one writer, in memory that is there from the beginning: noting one costs a few stores
/// and two looks at the clock.
///
/// @unchecked Sendable: one thread writes; whoever empties a track knows that its writer is idle.
@safe package final class TraceTrack: @unchecked Sendable {
  private let records: UnsafeMutableBufferPointer<TraceRecord>
  private let capacity: Int
  private var count = 0
  /// Records that found no room.
  package private(set) var dropped = 0

  /// - Parameter capacity: records between two `drain`s.
  package init(capacity: Int) {
    unsafe records = .allocate(capacity: capacity)
    self.capacity = capacity
  }

  deinit { unsafe records.deallocate() }

  /// Bytes of a track, with those that sorting it takes.
  package static func byteCount(capacity: Int) -> Int {
    capacity * MemoryLayout<TraceRecord>.stride * 3 / 2
  }

  package func append(_ record: TraceRecord) {
    guard count < capacity else {
      dropped += 1
      return
    }
    unsafe records.initializeElement(at: count, to: record)
    count += 1
  }

  /// Hands out all records in the order in which they began, each before those that lie in it, and
  /// forgets them.
  package func drain(_ body: (TraceRecord) throws -> Void) rethrows {
    defer { count = 0 }
    var filled = unsafe UnsafeMutableBufferPointer(rebasing: records[..<count])
    unsafe filled.sort { ($0.start, $1.end) < ($1.start, $0.end) }
    for index in filled.indices { try body(unsafe filled[index]) }
  }
}
