package import PinnedMemory

/// Where the requests of one path are carried out: a ring, or a pool of threads.
///
/// Belongs to the thread of its disk. Knows nothing of transfers, order or errors: requests go in
/// with a tag, and come out, in any order, with the kernel's own answer.
package protocol RequestQueue: ~Copyable {
  /// The engine's name in reports.
  static var engine: String { get }
  /// Tells the queue of a file that requests will name.
  mutating func register(_ file: OpenFile)
  /// Tells the queue of memory that requests will use.
  /// - Returns: bytes that need not be looked up for every request.
  mutating func register(_ memory: PinnedSlice) -> Int
  /// The memory is about to go; it was registered, perhaps not in full.
  /// - Returns: bytes that are no longer registered.
  mutating func unregister(_ memory: PinnedSlice) -> Int
  /// Takes a request; the kernel sees it at the next `enter`.
  /// - Parameter tag: handed back with the answer, below the depth.
  mutating func prepare(_ request: Request, tag: Int)
  /// Hands everything prepared to the kernel and, if asked, waits for one answer. What the kernel
  /// does not take is offered again by the next call; then this one need not wait.
  mutating func enter(wait: Bool)
  /// The next answer, without waiting: bytes moved, or a negative errno.
  mutating func nextAnswer() -> (tag: Int, result: Int)?
  /// From now on every answer raises `event`, for owners that wait for several queues at once.
  mutating func notify(_ event: EventDescriptor) throws(DiskError)
  /// Whether waiting would be wrong: an answer is there already, or a request was not taken.
  var isReady: Bool { get }
  /// Lets go of files and memory. No request is under way.
  mutating func close()
}
