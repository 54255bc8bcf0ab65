import Glibc

extension DiskError {
  /// The failure of a system call, its errno turned into what it means and what to do.
  package init(
    _ action: Action, path: String, offset: Int = 0, length: Int = 0, errno code: Int32
  ) {
    self.init(
      action, path: path, offset: offset, length: length, code: code,
      remedy: Self.remedy(for: code, action))
  }

  /// Whether another file, or a smaller one, may go where this one could not.
  package var isLackOfSpace: Bool { code == ENOSPC || code == EDQUOT }

  /// One sentence of meaning and one of advice for every errno that files are known to give.
  private static func remedy(for code: Int32, _ action: Action) -> String {
    switch code {
    case ENOSPC:
      "no space left on the device; free some, or give a path with more room"
    case EDQUOT:
      "the disk quota is used up; raise it, or give a path of another owner or device"
    case EFBIG:
      "the file system does not allow a file of this size; use ext4 or xfs, or raise `ulimit -f`"
    case ENOENT:
      "no such file or directory; check the path"
    case ENOTDIR:
      "a part of the path is not a directory; check the path"
    case EEXIST:
      "the file exists and is not overwritten; remove it, or give another path"
    case ELOOP:
      "the path ends in a symbolic link, which is not followed; give the file itself"
    case EACCES, EPERM:
      "permission denied; run as the owner of the file or give a path you may write"
    case EROFS:
      "the file system is mounted read-only; after a disk error the kernel does that, see `dmesg`"
    case EISDIR:
      "the path is a directory; give a file"
    case EMFILE, ENFILE:
      "too many open files; raise `ulimit -n`"
    case ENOMEM:
      "the kernel has no memory for the request; lower --memory or the queue depth"
    case EIO:
      action == .open || action == .create
        ? "the device reports an error; see `dmesg`"
        : "the device reports an error, also after \(Request.errorsAllowed) repetitions; see "
          + "`dmesg`, then check the drive with `smartctl -a`"
    case ENODEV, ENXIO, ENOTCONN:
      "the device is gone; check cable, mount and `dmesg`"
    case ESTALE:
      "the file is gone from its server; mount again and check that the store is complete"
    case EINTR, EAGAIN:
      "the kernel kept answering `try again`; the machine is short of a resource, see `dmesg`"
    case EINVAL:
      "the kernel refuses the request's alignment or size; the device may need more than 4096 bytes"
    case EOPNOTSUPP, ENOSYS:
      "the file system cannot do this; use ext4, xfs or another local file system"
    default:
      "\(unsafe String(cString: strerror(code))) (errno \(code))"
    }
  }
}
