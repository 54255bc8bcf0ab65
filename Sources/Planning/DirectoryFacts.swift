import Base
import DirectIO
import Glibc

/// What a directory stands on.
package struct DirectoryFacts: Codable, Hashable, Sendable {
  package let path: String
  package let isDirectory: Bool
  package let fileSystem: String
  package let mountPoint: String
  /// What is mounted there: `/dev/nvme0n1p2`, `tmpfs`.
  package let source: String
  /// The device's name in /sys/block, where there is one: `nvme0n1`.
  package let blockDevice: String?
  /// The NUMA node that the device hangs on; nil where there is none or only one.
  package let numaNode: Int?
  /// nil for virtual drives.
  package let isRotational: Bool?
  package let freeBytes: Int
  package let isWritable: Bool
  package let hasDirectIO: Bool
  /// As the kernel asks of direct I/O; nil where it does not say.
  package let memoryAlignment: Int?
  package let offsetAlignment: Int?
  package let findings: [MachineFacts.Finding]

  static func gather(_ path: String) -> Self {
    var status = stat()
    let isDirectory = unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    let mounts = MountPoint.parse(text(of: "/proc/self/mountinfo") ?? "")
    let mount = isDirectory ? MountPoint.holding(absolute(path), of: mounts) : nil
    let device = mount.flatMap { BlockDevice($0.device) }
    let trial = isDirectory ? Trial(path) : nil
    return Self(
      path: path, isDirectory: isDirectory, fileSystem: mount?.fileSystem ?? "unknown",
      mountPoint: mount?.path ?? "", source: mount?.source ?? "", blockDevice: device?.name,
      numaNode: device?.numaNode, isRotational: device?.isRotational,
      freeBytes: Planning.freeBytes(of: path) ?? 0,
      isWritable: trial?.failure == nil && isDirectory,
      hasDirectIO: trial?.isDirect ?? false, memoryAlignment: trial?.memoryAlignment,
      offsetAlignment: trial?.offsetAlignment,
      findings: findings(path, isDirectory, mount, device, trial))
  }

  private static func findings(
    _ path: String, _ isDirectory: Bool, _ mount: MountPoint?, _ device: BlockDevice?,
    _ trial: Trial?
  ) -> [MachineFacts.Finding] {
    func finding(_ problem: String, _ remedy: String) -> MachineFacts.Finding {
      .init(subject: path, problem: problem, remedy: remedy)
    }
    guard isDirectory, let trial else {
      return [finding("it is not a directory", "`mkdir -p \(path)`")]
    }
    if let failure = trial.failure {
      return [finding("nothing can be written: \(failure)", "give a directory you may write")]
    }
    var findings: [MachineFacts.Finding] = []
    if !trial.isDirect {
      findings.append(
        finding(
          "\(mount?.fileSystem ?? "the file system") has no O_DIRECT: transfers go through the "
            + "page cache, which takes memory beyond --memory",
          "put the store on ext4 or xfs on a local drive"))
    }
    if device?.isRotational == true {
      findings.append(
        finding("the drive is a spinning disk", "put the store on an NVMe drive"))
    }
    return findings
  }
}

/// A line of /proc/self/mountinfo.
package struct MountPoint: Hashable, Sendable {
  package let path: String
  package let fileSystem: String
  package let source: String
  /// `major:minor`.
  package let device: String

  /// The format is in proc(5): id parent major:minor root path options [tags] - type source
  /// options.
  package static func parse(_ mountinfo: String) -> [MountPoint] {
    mountinfo.split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ").map(String.init)
      guard let dash = words.firstIndex(of: "-"), dash >= 6, words.count > dash + 2 else {
        return nil
      }
      return MountPoint(
        path: unescaped(words[4]), fileSystem: words[dash + 1], source: words[dash + 2],
        device: words[2])
    }
  }

  /// The mount that holds `path`: the deepest, and of two on one place the later.
  package static func holding(_ path: String, of mounts: [MountPoint]) -> MountPoint? {
    var found: MountPoint?
    for mount in mounts {
      let isAbove = mount.path == "/" || path == mount.path || path.hasPrefix(mount.path + "/")
      if isAbove, mount.path.count >= found?.path.count ?? 0 { found = mount }
    }
    return found
  }

  /// Blanks in paths are written `\040`.
  private static func unescaped(_ word: String) -> String {
    var (bytes, rest) = ([UInt8](), Array(word.utf8)[...])
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3,
        let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        bytes.append(code)
        rest.removeFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// The block device behind a mount, from sysfs.
private struct BlockDevice {
  let name: String
  let numaNode: Int?
  let isRotational: Bool?

  init?(_ device: String) {
    let place = absolute("/sys/dev/block/\(device)")
    guard place.hasPrefix("/sys/devices/") else { return nil }
    // A partition lies in the directory of its drive.
    let isPartition = text(of: "\(place)/partition") != nil
    let parts = place.split(separator: "/")
    let drive = isPartition ? parts.dropLast() : parts[...]
    let directory = "/" + drive.joined(separator: "/")
    guard let last = drive.last else { return nil }
    name = String(last)
    // A virtual drive knows nothing of the real one and says anything.
    let isVirtual = place.contains("/virtio") || place.contains("/virtual/")
    let rotational = isVirtual ? nil : firstLine(of: "\(directory)/queue/rotational")
    isRotational = rotational.map { $0 == "1" }
    numaNode = Self.numaNode(of: drive)
  }
}

extension BlockDevice {
  /// The node of the nearest device above `drive`, a path in sysfs, that says one.
  private static func numaNode(of drive: ArraySlice<Substring>) -> Int? {
    for count in stride(from: drive.count, to: 1, by: -1) {
      let directory = "/" + drive.prefix(count).joined(separator: "/")
      // -1 where the machine has one node or does not say.
      if let node = firstLine(of: "\(directory)/numa_node").flatMap({ Int($0) }) {
        return node < 0 ? nil : node
      }
    }
    return nil
  }
}

/// What a small file in the directory shows.
private struct Trial {
  var failure: DiskError?
  var isDirect = false
  var memoryAlignment: Int?
  var offsetAlignment: Int?

  init(_ directory: String) {
    let path = "\(directory)/pagoda-doctor-\(getpid()).tmp"
    let disk = PathDisk<ThreadQueue>()
    do throws(DiskError) {
      let file = try disk.openFile(path, byteCount: 4096, .create)
      isDirect = disk.isDirect(file)
    } catch {
      failure = error
      return
    }
    var facts = statx()
    if unsafe statx(AT_FDCWD, path, 0, UInt32(STATX_DIOALIGN), &facts) == 0,
      facts.stx_mask & UInt32(STATX_DIOALIGN) != 0
    {
      memoryAlignment = Int(facts.stx_dio_mem_align)
      offsetAlignment = Int(facts.stx_dio_offset_align)
    }
    disk.close()
    unsafe _ = unlink(path)
  }
}
