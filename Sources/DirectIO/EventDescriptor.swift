import CLiburing
import Glibc

/// An eventfd: something to sleep on until somebody raises it.
package final class EventDescriptor: Sendable {
  let descriptor: Int32

  /// - Parameter directory: named in the error.
  init(_ directory: String) throws(DiskError) {
    descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
    guard descriptor >= 0 else { throw DiskError(.open, path: directory, errno: errno) }
  }

  deinit { _ = Glibc.close(descriptor) }

  func raise() { _ = eventfd_write(descriptor, 1) }

  func reset() {
    var count: eventfd_t = 0
    unsafe _ = eventfd_read(descriptor, &count)
  }

  /// Returns when it is raised, or for no reason.
  func wait() {
    var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    unsafe _ = poll(&polled, 1, -1)
  }
}
