import Base
import BenchHarness
import Glibc
import Kernels
import Synchronization

/// What the drive does at best for reads and writes in equal parts: threads with plain calls.
///
/// @unchecked Sendable: a descriptor, and memory of which each request in flight has its part.
final class RawMix: @unchecked Sendable {
  private static let threads = 8
  private static let requestBytes = 1 << 20

  private let descriptor: Int32
  private let requests: Int
  private let window: Vector<UInt8>
  private let workers = Workers(count: RawMix.threads)
  private let failure = Atomic<Int32>(0)

  /// Makes a file of twice `bytes` in `directory`, without a name, and writes it once.
  /// - Parameter windowBytes: memory that requests rotate through.
  init(directory: String, bytes: Int, windowBytes: Int) throws {
    let descriptor = unsafe open(
      directory, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, mode_t(0o600))
    guard descriptor >= 0 else { throw RawMixError(call: "open", path: directory, errno: errno) }
    let requests = max(1, bytes / Self.requestBytes)
    let reserved = posix_fallocate(descriptor, 0, 2 * requests * Self.requestBytes)
    guard reserved == 0 else {
      _ = close(descriptor)
      throw RawMixError(call: "fallocate", path: directory, errno: reserved)
    }
    self.descriptor = descriptor
    self.requests = requests
    window = Self.randomBytes(
      max(Self.threads, windowBytes / Self.requestBytes) * Self.requestBytes)
    try transfer(2 * requests) { ($0, isWrite: true) }
  }

  deinit { _ = close(descriptor) }

  private static func randomBytes(_ count: Int) -> Vector<UInt8> {
    let bytes = Vector<UInt8>(count: count)
    var random: UInt64 = 1
    var span = bytes.mutableSpan
    for i in span.indices {
      random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      span[i] = UInt8(truncatingIfNeeded: random >> 56)
    }
    return bytes
  }

  /// Reads one half of the file and writes the other, request by request.
  func run() throws -> Outcome {
    let requests = requests
    let time = try seconds {
      try transfer(2 * requests) { number in
        number & 1 == 0 ? (number / 2, false) : (requests + number / 2, true)
      }
      _ = fdatasync(descriptor)
    }
    return Outcome(
      rate: Double(2 * requests * Self.requestBytes) / time / 1e9,
      checksum: Checksum([UInt64(requests)]))
  }

  private func transfer(
    _ count: Int, _ request: @Sendable (Int) -> (index: Int, isWrite: Bool)
  ) throws {
    let slots = window.count / Self.requestBytes
    workers.forEach(count) { number, _ in
      let (index, isWrite) = request(number)
      // What is read and written matters to nobody: two requests may meet in a slot.
      let address = unsafe window.bytes.baseAddress! + number % slots * Self.requestBytes
      let offset = index * Self.requestBytes
      let moved =
        unsafe isWrite
        ? pwrite(descriptor, address, Self.requestBytes, offset)
        : pread(descriptor, address, Self.requestBytes, offset)
      if moved != Self.requestBytes {
        failure.store(moved < 0 ? errno : EIO, ordering: .releasing)
      }
    }
    let failed = failure.load(ordering: .acquiring)
    if failed != 0 { throw RawMixError(call: "transfer", path: "scratch file", errno: failed) }
  }
}

struct RawMixError: Error, CustomStringConvertible {
  let call: String
  let path: String
  let errno: Int32

  var description: String {
    unsafe "\(path): \(call) of the scratch file failed: \(String(cString: strerror(errno)))"
  }
}
