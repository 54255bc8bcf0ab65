import CLiburing
import Glibc
import PinnedMemory

/// Why the kernel gives no ring.
package struct RingRefusal: Error, Sendable, CustomStringConvertible {
  package let code: Int32

  package init(code: Int32) { self.code = code }

  package var description: String {
    switch code {
    case ENOSYS: "this kernel has no io_uring; Linux 5.19 or later has all that is used"
    case EPERM, EACCES:
      "io_uring is forbidden here, by `sysctl kernel.io_uring_disabled` or a container's seccomp "
        + "profile"
    case ENOMEM: "io_uring needs locked memory; raise `ulimit -l`"
    case EMFILE, ENFILE: "too many open files; raise `ulimit -n`"
    default: "io_uring_setup: \(unsafe String(cString: strerror(code))) (errno \(code))"
    }
  }
}

/// An io_uring: requests go in, answers come out in any order.
///
/// Owned by one thread at a time. Memory of requests under way must outlive their answers.
@safe package struct Ring: ~Copyable {
  /// Registered buffers are at most this long, the kernel's limit.
  private static let bufferBytesMax = 1 << 30
  private static let tableCount = 1024

  /// On the heap: the kernel library keeps its address.
  private let ring: UnsafeMutablePointer<io_uring>
  /// The names of the set-up flags that the kernel took.
  package let features: [String]
  private var hasFileTable: Bool
  private var hasBufferTable: Bool
  /// Registered memory, by address; the position in the kernel's table is `slot`.
  private var buffers: [(range: Range<UInt>, slot: UInt32)] = []

  /// - Parameter entries: requests that may be under way at once.
  package init(entries: Int) throws(RingRefusal) {
    precondition(0 < entries && entries <= 4096, "1 to 4096 requests at once")
    let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
    do throws(RingRefusal) {
      features = unsafe try Self.setUp(ring, entries)
    } catch {
      unsafe ring.deallocate()
      throw error
    }
    unsafe hasFileTable = io_uring_register_files_sparse(ring, UInt32(Self.tableCount)) == 0
    unsafe hasBufferTable = io_uring_register_buffers_sparse(ring, UInt32(Self.tableCount)) == 0
    unsafe self.ring = unsafe ring
  }

  deinit {
    unsafe io_uring_queue_exit(ring)
    unsafe ring.deallocate()
  }

  /// Tries the best flags first; kernels that do not know one answer EINVAL.
  ///
  /// COOP_TASKRUN: the kernel does not interrupt the owner's arithmetic to post an answer or to go
  /// on with a request; it waits for the owner's next entry, at the latest the clock tick.
  /// TASKRUN_FLAG makes peeking notice such answers. Not DEFER_TASKRUN: then it waits until the
  /// owner comes back to the ring, after 50 ms of arithmetic. Not SINGLE_ISSUER: it gains little
  /// without the former and ties the ring to the thread that made it.
  private static func setUp(
    _ ring: UnsafeMutablePointer<io_uring>, _ entries: Int
  ) throws(RingRefusal) -> [String] {
    let choices: [(flags: UInt32, names: [String])] = [
      (IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, ["COOP_TASKRUN", "TASKRUN_FLAG"]),
      (0, []),
    ]
    var code: Int32 = EINVAL
    for choice in choices where code == EINVAL {
      var parameters = io_uring_params()
      parameters.flags = choice.flags
      code = unsafe -io_uring_queue_init_params(UInt32(entries), ring, &parameters)
      if code == 0 { return choice.names }
    }
    throw RingRefusal(code: code)
  }
}

extension Ring {
  /// Registers a descriptor under `index`. Without effect where the table is full or missing.
  mutating func register(_ descriptor: Int32, at index: Int) -> Bool {
    guard hasFileTable, index < Self.tableCount else { return false }
    var descriptor = descriptor
    return unsafe io_uring_register_files_update(ring, UInt32(index), &descriptor, 1) == 1
  }

  /// Registers memory, so that the kernel need not look its pages up for every request.
  ///
  /// - Returns: bytes registered; fewer than asked where the table is full or the limit on locked
  ///   memory is reached.
  mutating func register(_ memory: UnsafeMutableRawBufferPointer) -> Int {
    guard hasBufferTable, let base = memory.baseAddress else { return 0 }
    var registered = 0
    while registered < memory.count, buffers.count < Self.tableCount {
      let byteCount = min(Self.bufferBytesMax, memory.count - registered)
      let start = unsafe base + registered
      var vector = unsafe iovec(iov_base: start, iov_len: byteCount)
      let slot = UInt32(buffers.count)
      guard unsafe io_uring_register_buffers_update_tag(ring, slot, &vector, nil, 1) == 1 else {
        break
      }
      let address = UInt(bitPattern: start)
      buffers.append((address..<address + UInt(byteCount), slot))
      registered += byteCount
    }
    buffers.sort { $0.range.lowerBound < $1.range.lowerBound }
    return registered
  }

  /// Lets go of files and memory. A registered file stays open, its lock and its blocks held, for
  /// as long as the ring knows it, whatever became of its descriptor.
  mutating func unregisterAll() {
    if hasFileTable { unsafe _ = io_uring_unregister_files(ring) }
    if hasBufferTable { unsafe _ = io_uring_unregister_buffers(ring) }
    hasFileTable = false
    hasBufferTable = false
    buffers = []
  }

  /// The slot of the registered buffer that holds all of `range`.
  private func slot(holding range: Range<UInt>) -> UInt32? {
    var low = 0
    var high = buffers.count
    while low < high {
      let middle = (low + high) / 2
      if buffers[middle].range.upperBound <= range.lowerBound {
        low = middle + 1
      } else {
        high = middle
      }
    }
    guard low < buffers.count, buffers[low].range.lowerBound <= range.lowerBound,
      range.upperBound <= buffers[low].range.upperBound
    else { return nil }
    return buffers[low].slot
  }

  /// Puts a request in the queue; the kernel sees it at the next `enter`.
  ///
  /// - Parameters:
  ///   - fixedFile: the index under which the request's file is registered, or nil.
  ///   - tag: handed back with the answer.
  mutating func prepare(_ request: Request, fixedFile: Int?, tag: Int) {
    guard let entry = unsafe io_uring_get_sqe(ring) else {
      preconditionFailure("no more requests under way than entries")
    }
    let file = fixedFile.map(Int32.init) ?? request.file.descriptor
    let byteCount = UInt32(request.memory.byteCount)
    let offset = UInt64(request.offset)
    let memory = unsafe request.memory.address
    let start = UInt(bitPattern: memory)
    let slot = slot(holding: start..<start + UInt(byteCount))
    switch (request.kind, slot) {
    case (.read, let slot?):
      unsafe io_uring_prep_read_fixed(entry, file, memory, byteCount, offset, Int32(slot))
    case (.read, nil): unsafe io_uring_prep_read(entry, file, memory, byteCount, offset)
    case (.write, let slot?):
      unsafe io_uring_prep_write_fixed(entry, file, memory, byteCount, offset, Int32(slot))
    case (.write, nil): unsafe io_uring_prep_write(entry, file, memory, byteCount, offset)
    }
    if fixedFile != nil { unsafe io_uring_sqe_set_flags(entry, pagoda_sqe_fixed_file) }
    unsafe io_uring_sqe_set_data64(entry, UInt64(tag))
  }

  /// Hands all prepared requests to the kernel and, if asked, waits for one answer.
  mutating func enter(wait: Bool) {
    let result = unsafe wait ? io_uring_submit_and_wait(ring, 1) : io_uring_submit(ring)
    guard result < 0 else { return }
    switch -result {
    // What was not taken stays in the queue for the next call.
    case EINTR, EAGAIN, EBUSY: break
    default: preconditionFailure("io_uring_enter fails only for bugs (errno \(-result))")
    }
  }

  /// The next answer, without waiting: the request's tag, and bytes moved or a negative errno.
  mutating func nextAnswer() -> (tag: Int, result: Int)? {
    var entry: UnsafeMutablePointer<io_uring_cqe>?
    guard unsafe io_uring_peek_cqe(ring, &entry) == 0, let entry = unsafe entry else { return nil }
    let answer = unsafe (tag: Int(entry.pointee.user_data), result: Int(entry.pointee.res))
    unsafe io_uring_cqe_seen(ring, entry)
    return answer
  }
}
