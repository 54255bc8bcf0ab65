import Glibc

/// Nanoseconds of a clock that only goes forward (CLOCK_MONOTONIC), since an arbitrary moment.
package func nanoseconds() -> UInt64 {
  var time = timespec()
  unsafe clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}

/// The seconds from `start` to `end`, two readings of `nanoseconds`.
package func elapsedSeconds(from start: UInt64, to end: UInt64) -> Double {
  Double(end &- start) * 1e-9
}
