import Base
import Glibc
import PinnedMemory
import Synchronization

/// The plainest way to move bytes: threads, each with its own buffer, that call pread or pwrite one
/// after the other over their own part of the file. What they reach together is the ceiling that
/// the engine is measured against.
///
/// @unchecked Sendable: constants, atomic counters, and memory of which each thread has its part.
@safe final class RawLoop: @unchecked Sendable {
  static let threadCount = 8

  private let descriptor: Int32
  private let requestBytes: Int
  private let fileBytes: Int
  private let isWrite: Bool
  private let memory: PinnedSlice
  private let deadline: UInt64
  private let moved = Atomic<Int>(0)
  private let nextThread = Atomic<Int>(0)
  private let failure = Atomic<Int32>(0)

  private init(
    _ file: ScratchFile, requestBytes: Int, isWrite: Bool, _ memory: PinnedSlice, deadline: UInt64
  ) {
    descriptor = file.descriptor
    self.requestBytes = requestBytes
    fileBytes = file.byteCount
    self.isWrite = isWrite
    self.memory = memory
    self.deadline = deadline
  }

  /// GB/s, or the errno of what failed.
  ///
  /// - Parameter memory: a request for each thread, random data.
  static func run(
    _ file: ScratchFile, requestBytes: Int, isWrite: Bool, _ memory: PinnedSlice, seconds: Double
  ) -> (gigabytesPerSecond: Double, errno: Int32) {
    let start = monotonicNanoseconds()
    let loop = RawLoop(
      file, requestBytes: requestBytes, isWrite: isWrite, memory,
      deadline: start + UInt64(seconds * 1e9))
    let threads = (0..<threadCount).map { _ in startThread("ceiling") { loop.work() } }
    for thread in threads { pthread_join(thread, nil) }
    let nanoseconds = monotonicNanoseconds() - start
    return (
      Double(loop.moved.load(ordering: .acquiring)) / Double(nanoseconds),
      loop.failure.load(ordering: .acquiring)
    )
  }

  private func work() {
    let index = nextThread.wrappingAdd(1, ordering: .relaxed).oldValue
    let requests = fileBytes / requestBytes
    // Threads share requests where there are fewer than threads.
    let first = index * requests / Self.threadCount
    let end = max(first + 1, (index + 1) * requests / Self.threadCount)
    let part = memory.part(from: index * requestBytes, byteCount: requestBytes)

    var request = first
    repeat {
      guard move(part, request * requestBytes) else { return }
      request = request + 1 < end ? request + 1 : first
    } while monotonicNanoseconds() < deadline
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
