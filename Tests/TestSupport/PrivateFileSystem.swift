import Glibc

/// A file system of one test, there as long as its owner: it is taken out of the directory tree as
/// soon as it is mounted, so that nothing of it outlives the process, however that ends.
@safe package final class PrivateFileSystem {
  /// Where this process and those that it starts find it.
  package var path: String { Self.path(of: root) }

  private let root: Int32
  /// What holds the bytes: the memory with the image of a drive. Nothing of its own elsewhere.
  private let below: Int32

  /// In memory.
  package static func memory(bytes: Int) throws -> PrivateFileSystem {
    try PrivateFileSystem("mount -t tmpfs -o size=\(bytes) tmpfs root")
  }

  /// An overlay over memory: a file system that takes O_DIRECT and has no disk.
  package static func overlay() throws -> PrivateFileSystem {
    try PrivateFileSystem(
      """
      mount -t tmpfs tmpfs below
      mkdir below/lower below/upper below/work
      mount -t overlay -o lowerdir=below/lower,upperdir=below/upper,workdir=below/work overlay root
      """)
  }

  /// ext4 on a drive of 32 MiB with sectors of 4096 bytes, thinly provisioned: it can promise more
  /// than `fill` leaves it.
  package static func drive() throws -> PrivateFileSystem {
    try PrivateFileSystem(
      """
      mount -t tmpfs -o size=40m tmpfs below
      truncate -s 32M below/image
      loop=$(losetup --find --show --sector-size 4096 below/image)
      trap 'losetup -d $loop' EXIT
      mkfs.ext4 -q -m 0 -N 64 -O ^has_journal -E lazy_itable_init=0 $loop
      mount $loop root
      """)
  }

  /// Whether this process may mount such things here.
  package static let memoryIsPossible = (try? memory(bytes: 4096)) != nil
  package static let overlayIsPossible = (try? overlay()) != nil
  package static let driveIsPossible = (try? drive()) != nil

  /// - Parameter script: mounts a file system on `root` and, if it likes, one on `below`. A loop
  ///   device that is detached while it is mounted goes with the mount.
  private init(_ script: String) throws {
    var template = Array("/tmp/pagoda-mount-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw PrivateFileSystemError.impossible }
    let base = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { unsafe _ = rmdir(base) }
    let mounts = ["root", "below"].map { base + "/" + $0 }
    for directory in mounts { unsafe _ = mkdir(directory, 0o700) }
    defer {
      for directory in mounts {
        unsafe _ = umount2(directory, Int32(MNT_DETACH))
        unsafe _ = rmdir(directory)
      }
    }
    let status = unsafe system("exec 2>/dev/null; set -eu; cd \(base)\n\(script)")
    guard status == 0 else { throw PrivateFileSystemError.impossible }
    let descriptors = mounts.map { unsafe open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
    (root, below) = (descriptors[0], descriptors[1])
  }

  deinit {
    _ = close(root)
    _ = close(below)
  }

  /// Takes what is left below a drive: blocks that were promised and never written find no room.
  package func fill() throws {
    let place = Self.path(of: below)
    var space = statvfs()
    let ballast = unsafe open(place + "/ballast", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    defer { _ = close(ballast) }
    guard ballast >= 0, unsafe statvfs(place, &space) == 0,
      posix_fallocate(ballast, 0, Int(space.f_bavail) * Int(space.f_frsize)) == 0
    else { throw PrivateFileSystemError.impossible }
  }

  /// Gives back what `fill` took.
  package func clear() { unsafe _ = unlink(Self.path(of: below) + "/ballast") }

  private static func path(of descriptor: Int32) -> String { "/proc/\(getpid())/fd/\(descriptor)" }
}

package enum PrivateFileSystemError: Error { case impossible }
