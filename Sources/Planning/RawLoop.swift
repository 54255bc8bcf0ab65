import Glibc
import PinnedMemory
import Synchronization

/// The plainest way to move bytes: threads, each with its own buffer, that call pread or pwrite one
/// after the other over their own part of the file. What they reach together is the ceiling that
/// the engine is measured against.
///
/// @unchecked Sendable: constants, atomic counters, and buffers of which each thread has its own.
@safe final class RawLoop: @unchecked Sendable {
  static let threadCount = 8

  private let descriptor: Int32
  private let requestBytes: Int
  private let fileBytes: Int
  private let isWrite: Bool
  private let pages: ScratchPages
  private let buffers: [ProbeMemory]
  private let deadline: ContinuousClock.Instant
  private let moved = Atomic<Int>(0)
  private let nextThread = Atomic<Int>(0)
  private let failure = Atomic<Int32>(0)

  private init(
    _ descriptor: Int32, requestBytes: Int, fileBytes: Int, isWrite: Bool, _ pages: ScratchPages,
    _ buffers: [ProbeMemory], _ duration: Duration
  ) {
    self.descriptor = descriptor
    self.requestBytes = requestBytes
    self.fileBytes = fileBytes
    self.isWrite = isWrite
    self.pages = pages
    self.buffers = buffers
    deadline = ContinuousClock().now + duration
  }

  /// Bytes moved and time taken, the sync after writes included, or the errno of what failed.
  ///
  /// - Parameter buffers: one for each thread; for writing, filled by `pages` from origin 0 on.
  static func run(
    _ descriptor: Int32, requestBytes: Int, fileBytes: Int, isWrite: Bool, _ pages: ScratchPages,
    _ buffers: [ProbeMemory], for duration: Duration
  ) -> (bytes: Int, duration: Duration, errno: Int32) {
    let start = ContinuousClock().now
    let loop = RawLoop(
      descriptor, requestBytes: requestBytes, fileBytes: fileBytes, isWrite: isWrite, pages,
      buffers, duration)
    let threads = (0..<threadCount).map { _ in loop.startThread() }
    for thread in threads { pthread_join(thread, nil) }
    if isWrite, loop.failure.load(ordering: .acquiring) == 0, fdatasync(descriptor) != 0 {
      loop.failure.store(errno, ordering: .releasing)
    }
    return (
      loop.moved.load(ordering: .acquiring), ContinuousClock().now - start,
      loop.failure.load(ordering: .acquiring)
    )
  }

  private func startThread() -> pthread_t {
    var thread = pthread_t()
    let context = unsafe Unmanaged.passRetained(self).toOpaque()
    let code = unsafe pthread_create(
      &thread, nil,
      { context in
        unsafe Unmanaged<RawLoop>.fromOpaque(context!).takeRetainedValue().work()
        return nil
      }, context)
    precondition(code == 0, "a handful of threads can be made (errno \(code))")
    return thread
  }

  private func work() {
    let index = nextThread.wrappingAdd(1, ordering: .relaxed).oldValue
    let requests = fileBytes / requestBytes
    // Threads share requests where there are fewer than threads; they write the same bytes then.
    let first = index * requests / Self.threadCount
    let end = max(first + 1, (index + 1) * requests / Self.threadCount)
    let memory = buffers[index].part(from: 0, byteCount: requestBytes)

    var request = first
    repeat {
      let offset = request * requestBytes
      if isWrite {
        pages.stamp(memory, firstPage: offset / ScratchPages.pageBytes, origin: 0)
      }
      guard move(memory, offset) else { return }
      request = request + 1 < end ? request + 1 : first
    } while ContinuousClock().now < deadline
  }

  /// - Returns: false after a failure, which is noted.
  private func move(_ memory: PinnedSlice, _ offset: Int) -> Bool {
    let address = unsafe memory.address
    let result =
      unsafe isWrite
      ? pwrite(descriptor, address, requestBytes, offset)
      : pread(descriptor, address, requestBytes, offset)
    guard result == requestBytes else {
      failure.store(result < 0 ? errno : EIO, ordering: .releasing)
      return false
    }
    moved.wrappingAdd(result, ordering: .relaxed)
    return true
  }
}
