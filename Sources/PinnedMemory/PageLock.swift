internal import Base
internal import CNuma
import Glibc

/// Whether the kernel may move or swap out a region.
package enum PageLock: Sendable, Equatable {
  case locked
  /// The process has no right to lock so much: `limitBytes` is RLIMIT_MEMLOCK, `code` the errno.
  case unlocked(wantedBytes: Int, limitBytes: Int, code: Int32)

  /// Locks `bytes`, which also makes every page present; refusal is remembered, not thrown, because
  /// training works without the lock, only slower under memory pressure.
  static func lock(_ bytes: UnsafeMutableRawBufferPointer) -> PageLock {
    if unsafe mlock(bytes.baseAddress, bytes.count) == 0 { return .locked }
    let code = errno
    var limit = rlimit()
    unsafe getrlimit(__RLIMIT_MEMLOCK, &limit)
    let limitBytes = limit.rlim_cur > UInt(Int.max) ? Int.max : Int(limit.rlim_cur)
    return .unlocked(wantedBytes: bytes.count, limitBytes: limitBytes, code: code)
  }

  /// Of several regions together, `wantedBytes` in all: locked when each is.
  package static func all(_ locks: [PageLock], wantedBytes: Int) -> PageLock {
    for case .unlocked(_, let limit, let code) in locks {
      return .unlocked(wantedBytes: wantedBytes, limitBytes: limit, code: code)
    }
    return .locked
  }

  /// What to tell the user, nil when locked.
  package var remedy: String? {
    guard case .unlocked(let wanted, let limit, let code) = self else { return nil }
    return "memory is not locked: \(ByteCount(wanted)) wanted, the limit is \(ByteCount(limit)) "
      + "(errno \(code)): run `ulimit -l \(roundUp(wanted, to: 1024) / 1024)` first, "
      + "or set LimitMEMLOCK=infinity for the service"
  }
}
