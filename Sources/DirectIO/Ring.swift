import CLiburing
import Glibc
package import PinnedMemory

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

/// How a ring is set up: who carries its work on when, and who tells the kernel of new requests.
package enum RingMode: String, CaseIterable, Codable, Sendable {
  /// SINGLE_ISSUER and DEFER_TASKRUN: answers are made when the owner asks for them, by the owner.
  /// Its arithmetic is never interrupted. Linux 6.1.
  case deferred
  /// COOP_TASKRUN: answers are made at the owner's next entry to the kernel, whatever for. Linux
  /// 5.19.
  case cooperative
  /// SQPOLL: a kernel thread looks for requests, so that beginning them takes no system call. It
  /// costs a core while it looks.
  case polled
  /// No flags: every answer interrupts the owner.
  case plain

  var flags: UInt32 {
    switch self {
    case .deferred:
      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG
    case .cooperative: IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG
    case .polled: IORING_SETUP_SQPOLL
    case .plain: 0
    }
  }

  /// The names of the set-up flags, as the kernel's documentation has them.
  package var flagNames: [String] {
    switch self {
    case .deferred: ["SINGLE_ISSUER", "DEFER_TASKRUN"]
    case .cooperative: ["COOP_TASKRUN"]
    case .polled: ["SQPOLL"]
    case .plain: []
    }
  }

  /// What is tried, best first, when nothing is asked for. Not SQPOLL, which takes a core from the
  /// arithmetic.
  static let preferred: [RingMode] = [.deferred, .cooperative, .plain]
}

/// An io_uring: requests go in, answers come out in any order.
///
/// Owned by the thread that made it. Memory of requests under way must outlive their answers.
@safe package struct Ring: ~Copyable {
  /// Registered buffers are at most this long, the kernel's limit.
  private static let bufferBytesMax = 1 << 30
  private static let tableCount = 1024
  /// A polling kernel thread goes to sleep after so long without requests.
  private static let idleMilliseconds: UInt32 = 50

  /// On the heap: the kernel library keeps its address.
  private let ring: UnsafeMutablePointer<io_uring>
  package let mode: RingMode
  package private(set) var hasFileTable: Bool
  package private(set) var hasBufferTable: Bool
  /// Registered files: the kernel's index by descriptor.
  private var fileIndex: [Int32: Int32] = [:]
  /// Raised by the kernel for every answer; kept open for it.
  private var event: EventDescriptor?
  /// Named in errors.
  private let directory: String
  /// Registered memory, by address; the position in the kernel's table is `slot`.
  private var buffers: [(range: Range<UInt>, slot: UInt32)] = []
  /// Positions in the kernel's table that are free again.
  private var freeSlots: [UInt32] = []

  /// - Parameters:
  ///   - entries: requests that may be under way at once.
  ///   - mode: nil for the best that this kernel has.
  package init(entries: Int, mode: RingMode?, directory: String = "") throws(RingRefusal) {
    precondition(0 < entries && entries <= 4096, "1 to 4096 requests at once")
    let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
    do throws(RingRefusal) {
      self.mode = unsafe try Self.setUp(ring, entries, mode.map { [$0] } ?? RingMode.preferred)
    } catch {
      unsafe ring.deallocate()
      throw error
    }
    unsafe hasFileTable = io_uring_register_files_sparse(ring, UInt32(Self.tableCount)) == 0
    unsafe hasBufferTable = io_uring_register_buffers_sparse(ring, UInt32(Self.tableCount)) == 0
    self.directory = directory
    unsafe self.ring = unsafe ring
  }

  deinit {
    unsafe io_uring_queue_exit(ring)
    unsafe ring.deallocate()
  }

  /// Tries for a fifth of a second: the kernel takes a while to give back the locked memory of rings
  /// that are gone, such as those of the probe.
  static func afterOthers(
    entries: Int, mode: RingMode?, directory: String
  ) throws(RingRefusal) -> Ring {
    for _ in 0..<20 {
      do throws(RingRefusal) {
        return try Ring(entries: entries, mode: mode, directory: directory)
      } catch {
        guard error.code == ENOMEM else { throw error }
        usleep(10_000)
      }
    }
    return try Ring(entries: entries, mode: mode, directory: directory)
  }

  /// Takes the first mode that the kernel does not answer with EINVAL, its word for flags that it
  /// does not know.
  private static func setUp(
    _ ring: UnsafeMutablePointer<io_uring>, _ entries: Int, _ modes: [RingMode]
  ) throws(RingRefusal) -> RingMode {
    var code: Int32 = EINVAL
    for mode in modes where code == EINVAL {
      var parameters = io_uring_params()
      parameters.flags = mode.flags
      parameters.sq_thread_idle = idleMilliseconds
      code = unsafe -io_uring_queue_init_params(UInt32(entries), ring, &parameters)
      if code == 0 { return mode }
    }
    throw RingRefusal(code: code)
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
}

// MARK: What the kernel is told once

extension Ring: RequestQueue {
  package static var engine: String { "io_uring" }

  /// Without effect where the table is full or missing.
  package mutating func register(_ file: OpenFile) {
    let index = Int32(fileIndex.count)
    guard hasFileTable, index < Self.tableCount else { return }
    var descriptor = file.descriptor
    if unsafe io_uring_register_files_update(ring, UInt32(index), &descriptor, 1) == 1 {
      fileIndex[file.descriptor] = index
    }
  }

  /// - Returns: bytes registered; fewer than asked where the table is full or the limit on locked
  ///   memory is reached.
  package mutating func register(_ memory: PinnedSlice) -> Int {
    guard hasBufferTable else { return 0 }
    var registered = 0
    while registered < memory.byteCount, buffers.count < Self.tableCount {
      let byteCount = min(Self.bufferBytesMax, memory.byteCount - registered)
      let start = unsafe memory.address + registered
      let slot = freeSlots.last ?? UInt32(buffers.count)
      guard unsafe setBuffer(slot, iovec(iov_base: start, iov_len: byteCount)) else { break }
      _ = freeSlots.popLast()
      let address = UInt(bitPattern: start)
      buffers.append((address..<address + UInt(byteCount), slot))
      registered += byteCount
    }
    buffers.sort { $0.range.lowerBound < $1.range.lowerBound }
    return registered
  }

  package mutating func unregister(_ memory: PinnedSlice) -> Int {
    let start = unsafe UInt(bitPattern: memory.address)
    let range = start..<start + UInt(memory.byteCount)
    let gone = buffers.filter { range.overlaps($0.range) }
    for buffer in gone {
      let isGone = unsafe setBuffer(buffer.slot, iovec(iov_base: nil, iov_len: 0))
      precondition(isGone, "a buffer that was registered can be forgotten")
      freeSlots.append(buffer.slot)
    }
    buffers.removeAll { range.overlaps($0.range) }
    return gone.reduce(0) { $0 + $1.range.count }
  }

  /// Puts memory, or nothing, at a position of the kernel's table; false where it refuses.
  private func setBuffer(_ slot: UInt32, _ vector: iovec) -> Bool {
    var vector = unsafe vector
    return unsafe io_uring_register_buffers_update_tag(ring, slot, &vector, nil, 1) == 1
  }

  /// A registered file stays open, its lock and its blocks held, for as long as the ring knows it,
  /// whatever became of its descriptor.
  package mutating func close() {
    if hasFileTable { unsafe _ = io_uring_unregister_files(ring) }
    if hasBufferTable { unsafe _ = io_uring_unregister_buffers(ring) }
    hasFileTable = false
    hasBufferTable = false
    fileIndex = [:]
    buffers = []
    freeSlots = []
  }
}

// MARK: Requests and answers

extension Ring {
  package mutating func prepare(_ request: Request, tag: Int) {
    let entry = unsafe freeEntry()
    let index = fileIndex[request.file.descriptor]
    let file = index ?? request.file.descriptor
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
    if index != nil { unsafe io_uring_sqe_set_flags(entry, pagoda_sqe_fixed_file) }
    unsafe io_uring_sqe_set_data64(entry, UInt64(tag))
  }

  /// There are as many entries as requests, but a polling kernel thread may answer a request before
  /// it gives the entry back.
  private func freeEntry() -> UnsafeMutablePointer<io_uring_sqe> {
    while true {
      if let entry = unsafe io_uring_get_sqe(ring) { return unsafe entry }
      precondition(mode == .polled, "no more requests under way than entries")
      unsafe _ = io_uring_submit(ring)
      unsafe _ = io_uring_sqring_wait(ring)
    }
  }

  package mutating func enter(wait: Bool) {
    // Nothing to hand over and nothing to wait for: no system call.
    guard unsafe wait || io_uring_sq_ready(ring) > 0 else { return }
    let result = unsafe wait ? io_uring_submit_and_wait(ring, 1) : io_uring_submit(ring)
    guard result < 0 else { return }
    switch -result {
    // What was not taken stays in the queue for the next call.
    case EINTR, EAGAIN, EBUSY: break
    default: preconditionFailure("io_uring_enter fails only for bugs (errno \(-result))")
    }
  }

  package mutating func nextAnswer() -> (tag: Int, result: Int)? {
    var entry: UnsafeMutablePointer<io_uring_cqe>?
    guard unsafe io_uring_peek_cqe(ring, &entry) == 0, let entry = unsafe entry else { return nil }
    let answer = unsafe (tag: Int(entry.pointee.user_data), result: Int(entry.pointee.res))
    unsafe io_uring_cqe_seen(ring, entry)
    return answer
  }

  /// Not by the ring's own descriptor: a sleeping poll of that never hears of deferred answers.
  package mutating func notify(_ event: EventDescriptor) throws(DiskError) {
    let code = unsafe -io_uring_register_eventfd(ring, event.descriptor)
    guard code == 0 else { throw DiskError(.open, path: directory, errno: code) }
    self.event = event
  }
  package var isReady: Bool {
    unsafe io_uring_cq_ready(ring) > 0 || io_uring_sq_ready(ring) > 0
  }
}

/// What this kernel's io_uring has, asked by making rings.
package struct RingFacts: Sendable {
  /// Why there is none; nil when there is.
  package let refusal: RingRefusal?
  /// Modes that the kernel takes.
  package let modes: [RingMode]
  /// The mode that disks use.
  package let used: RingMode?
  package let hasRegisteredFiles: Bool
  package let hasRegisteredBuffers: Bool

  package static func probe() -> RingFacts {
    do throws(RingRefusal) {
      let ring = try Ring(entries: 1, mode: nil)
      return RingFacts(
        refusal: nil, modes: RingMode.allCases.filter(isTaken), used: ring.mode,
        hasRegisteredFiles: ring.hasFileTable, hasRegisteredBuffers: ring.hasBufferTable)
    } catch {
      return RingFacts(
        refusal: error, modes: [], used: nil, hasRegisteredFiles: false,
        hasRegisteredBuffers: false)
    }
  }

  private static func isTaken(_ mode: RingMode) -> Bool {
    do throws(RingRefusal) {
      _ = try Ring(entries: 1, mode: mode)
      return true
    } catch {
      return false
    }
  }
}
