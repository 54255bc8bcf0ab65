import Base
import DirectIO
import Glibc

/// The scratch file of a probe. It has a name only while disks open it, with signals held back, so
/// that nothing stays behind however the probe ends.
final class ScratchFile {
  /// The name it had, for messages.
  let path: String
  let byteCount: Int
  /// For those who know no engine: a thread that calls pread, or another program.
  let descriptor: Int32
  /// A name by which other programs of this user can open the file as long as this process lives.
  var livePath: String { "/proc/\(getpid())/fd/\(descriptor)" }

  /// Makes the file, lets `openAll` open it by its name, removes the name and then gives the file
  /// its blocks: the first writes go to fresh extents.
  init(
    in directory: String, byteCount: Int, openAll: (_ path: String) throws(DiskError) -> Void
  ) throws(ProbeError) {
    try Self.checkRoom(directory, byteCount)
    let path = "\(directory)/pagoda-probe-\(getpid())-\(monotonicNanoseconds()).tmp"
    let descriptor: Int32
    do throws(DiskError) {
      descriptor = try withSignalsHeld { () throws(DiskError) in
        try Self.create(path, openAll)
      }
    } catch { throw .disk(error) }

    var code: Int32 = 0
    repeat { code = posix_fallocate(descriptor, 0, byteCount) } while code == EINTR
    guard code == 0 else {
      _ = close(descriptor)
      if code == ENOSPC {
        throw .noSpace(path: directory, needed: byteCount, free: freeBytes(of: directory) ?? 0)
      }
      throw .disk(DiskError(.create, path: path, length: byteCount, errno: code))
    }
    self.path = path
    self.byteCount = byteCount
    self.descriptor = descriptor
  }

  deinit { _ = close(descriptor) }

  /// Makes plain reads and writes of `descriptor` pass the page cache by.
  func setDirect() { _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_DIRECT) }

  private static func checkRoom(_ directory: String, _ byteCount: Int) throws(ProbeError) {
    var status = stat()
    guard unsafe stat(directory, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw .noDirectory(path: directory)
    }
    guard let free = freeBytes(of: directory), free < byteCount else { return }
    throw .noSpace(path: directory, needed: byteCount, free: free)
  }

  private static func create(
    _ path: String, _ openAll: (_ path: String) throws(DiskError) -> Void
  ) throws(DiskError) -> Int32 {
    let flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
    let descriptor = unsafe open(path, flags, 0o600)
    guard descriptor >= 0 else { throw DiskError(.create, path: path, errno: errno) }
    // Only a file made here is removed: an older one of this name made the creation fail.
    defer { unsafe _ = unlink(path) }
    do throws(DiskError) {
      try openAll(path)
    } catch {
      _ = close(descriptor)
      throw error
    }
    return descriptor
  }
}

/// Bytes that a directory's file system has free for this user; nil when it does not say.
func freeBytes(of directory: String) -> Int? {
  var status = statvfs()
  guard unsafe statvfs(directory, &status) == 0, status.f_blocks > 0 else { return nil }
  return Int(status.f_bavail) * Int(status.f_frsize)
}

/// Signals that arrive during `body` are delivered after it.
private func withSignalsHeld<Result>(
  _ body: () throws(DiskError) -> Result
) throws(DiskError) -> Result {
  var (all, before) = (sigset_t(), sigset_t())
  unsafe _ = sigfillset(&all)
  unsafe _ = pthread_sigmask(SIG_BLOCK, &all, &before)
  defer { unsafe _ = pthread_sigmask(SIG_SETMASK, &before, nil) }
  return try body()
}
