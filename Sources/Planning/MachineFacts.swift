import Base
import DirectIO
import Glibc
import PinnedMemory

/// What `pagoda doctor` knows of a machine: everything that decides how fast and how safely it
/// pages.
package struct MachineFacts: Codable, Hashable, Sendable {
  /// Something that works less well than it could, and what to do about it.
  package struct Finding: Codable, Hashable, Sendable {
    package let subject: String
    package let problem: String
    package let remedy: String

    package init(subject: String, problem: String, remedy: String) {
      (self.subject, self.problem, self.remedy) = (subject, problem, remedy)
    }
  }

  package struct Processor: Codable, Hashable, Sendable {
    package let model: String
    package let architecture: String
    package let logicalCores: Int
    package let hasAVX2: Bool
    package let hasAVX512: Bool
  }

  package struct Memory: Codable, Hashable, Sendable {
    package let totalBytes: Int
    package let availableBytes: Int
    /// The kernel's policy: `always`, `madvise` or `never`.
    package let transparentHugePages: String
    /// Huge pages set aside, and their size.
    package let hugePages: Int
    package let hugePageBytes: Int
    /// Limits on locked memory; nil is none.
    package let lockLimitBytes: Int?
    package let lockLimitMaxBytes: Int?
    /// CAP_IPC_LOCK: the limits do not count.
    package let mayLockAll: Bool
    /// Of `trialBytes` allocated like a pool, what came on huge pages.
    package let trialBytes: Int
    package let trialHugeBytes: Int
    package let hasSwap: Bool
  }

  package struct Node: Codable, Hashable, Sendable {
    package let index: Int
    /// As the kernel writes it: `0-7,16-23`; empty for memory without cores.
    package let cores: String
    package let coreCount: Int
    package let totalBytes: Int
    package let freeBytes: Int
    /// To each node in order, as the firmware says: 10 is the node itself.
    package let distances: [Int]
  }

  package struct Ring: Codable, Hashable, Sendable {
    package let isAvailable: Bool
    /// The set-up flags that the kernel takes, and the tables that it keeps.
    package let features: [String]
    /// The set-up flags that disks use.
    package let used: [String]
    package let refusal: String?
  }

  package let kernel: String
  package let processor: Processor
  package let memory: Memory
  package let nodes: [Node]
  package let ring: Ring
  package let directories: [DirectoryFacts]
  package let findings: [Finding]

  /// Looks at the machine, and at the drives under `directories`, in each of which a small file is
  /// made and removed again.
  /// - Parameter others: findings of what is looked at elsewhere.
  package static func gather(
    directories paths: [String], beside others: [Finding] = []
  ) -> MachineFacts {
    let processor = Processor.gather()
    let memory = Memory.gather()
    let nodes = Node.gather()
    let ring = Ring.gather()
    let directories = paths.map(DirectoryFacts.gather)
    var findings = processor.findings + others + memory.findings + ring.findings
    for directory in directories { findings += directory.findings }
    findings +=
      NodeFindings(
        nodeCount: nodes.count, driveNodes: directories.compactMap(\.numaNode),
        topology: .current(),
        settings: .gather()
      ).all
    return MachineFacts(
      kernel: firstLine(of: "/proc/sys/kernel/osrelease") ?? "unknown", processor: processor,
      memory: memory, nodes: nodes, ring: ring, directories: directories, findings: findings)
  }
}

// MARK: - Looking

extension MachineFacts.Processor {
  static func gather() -> Self {
    Self(cpuinfo: text(of: "/proc/cpuinfo") ?? "")
  }

  /// - Parameter cpuinfo: the text of `/proc/cpuinfo`.
  package init(cpuinfo: String) {
    let lines = cpuinfo.split(separator: "\n")
    func value(_ name: String) -> Substring? {
      lines.first { $0.hasPrefix(name) }?.split(separator: ":", maxSplits: 1).last
    }
    let flags = Set((value("flags") ?? "").split(separator: " "))
    model = trimmed(value("model name") ?? "unknown")
    #if arch(x86_64)
      architecture = "x86_64"
    #else
      architecture = "other"
    #endif
    logicalCores = lines.count { $0.hasPrefix("processor") }
    hasAVX2 = flags.contains("avx2") && flags.contains("fma")
    hasAVX512 = flags.contains("avx512f")
  }

  package var findings: [MachineFacts.Finding] {
    guard !hasAVX2 else { return [] }
    return [
      .init(
        subject: "processor", problem: "\(model) lacks AVX2 or FMA, which the kernels need",
        remedy: "use a machine with x86-64-v3 (2013 or later), or pass the host's CPU to the guest")
    ]
  }
}

extension MachineFacts.Memory {
  static func gather() -> Self {
    let info = meminfo(text(of: "/proc/meminfo") ?? "")
    var limit = rlimit()
    let isKnown = unsafe getrlimit(__RLIMIT_MEMLOCK, &limit) == 0
    func bytes(_ value: rlim_t) -> Int? { isKnown ? Int(exactly: value) : nil }
    return Self(
      totalBytes: info["MemTotal"] ?? 0, availableBytes: info["MemAvailable"] ?? 0,
      transparentHugePages: chosen(
        firstLine(of: "/sys/kernel/mm/transparent_hugepage/enabled") ?? "never"),
      hugePages: info["HugePages_Total"] ?? 0, hugePageBytes: info["Hugepagesize"] ?? 0,
      lockLimitBytes: bytes(limit.rlim_cur), lockLimitMaxBytes: bytes(limit.rlim_max),
      mayLockAll: mayLockAll(status: text(of: "/proc/self/status") ?? ""),
      trialBytes: trialBytes, trialHugeBytes: hugeBytesOfTrial(),
      // The first line names the columns.
      hasSwap: (text(of: "/proc/swaps") ?? "").split(separator: "\n").count > 1)
  }

  private static let trialBytes = 16 << 20

  private static func hugeBytesOfTrial() -> Int {
    let trial = try? PinnedRegion(
      name: "trial", byteCount: trialBytes, ledger: MemoryLedger(ceiling: trialBytes))
    switch trial {
    case .some(let region): return region.hugeBytes
    case .none: return 0
    }
  }

  /// - Parameter status: the text of `/proc/self/status`.
  package static func mayLockAll(status: String) -> Bool {
    let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
    let capabilities = line.flatMap { UInt64(trimmed($0.dropFirst(7)), radix: 16) } ?? 0
    return capabilities >> 14 & 1 == 1
  }

  package var findings: [MachineFacts.Finding] {
    var findings: [MachineFacts.Finding] = []
    if let limit = lockLimitBytes, limit < totalBytes / 2, !mayLockAll {
      let most = lockLimitMaxBytes.map { "up to \(ByteCount($0))" } ?? "without limit"
      findings.append(
        .init(
          subject: "locked memory",
          problem: "only \(ByteCount(limit)) may be locked; pools beyond that can be swapped out",
          remedy: "`ulimit -l unlimited` (this user may raise it \(most)), or `memlock` in "
            + "/etc/security/limits.conf, or LimitMEMLOCK=infinity in the service"))
    }
    if transparentHugePages == "never", hugePages == 0 {
      findings.append(
        .init(
          subject: "huge pages", problem: "there are none; pools use pages of 4 KiB",
          remedy: "`echo madvise > /sys/kernel/mm/transparent_hugepage/enabled`"))
    } else if trialHugeBytes < trialBytes / 2 {
      findings.append(
        .init(
          subject: "huge pages",
          problem: "of \(ByteCount(trialBytes)) only \(ByteCount(trialHugeBytes)) came on huge "
            + "pages: memory is fragmented",
          remedy: "`echo 1 > /proc/sys/vm/compact_memory`, or set pages aside: "
            + "`sysctl vm.nr_hugepages=N`"))
    }
    if hasSwap {
      findings.append(
        .init(
          subject: "swap", problem: "it is on: what is not locked may be swapped out",
          remedy: "`swapoff -a`, or `sysctl vm.swappiness=1`"))
    }
    return findings
  }
}

extension MachineFacts.Node {
  static func gather() -> [Self] {
    let root = "/sys/devices/system/node"
    return integerList(firstLine(of: "\(root)/online") ?? "").compactMap { index in
      guard let info = text(of: "\(root)/node\(index)/meminfo") else { return nil }
      let cores = firstLine(of: "\(root)/node\(index)/cpulist") ?? ""
      let sizes = nodeMeminfo(info)
      return Self(
        index: index, cores: cores, coreCount: integerList(cores).count,
        totalBytes: sizes["MemTotal"] ?? 0, freeBytes: sizes["MemFree"] ?? 0,
        distances: (firstLine(of: "\(root)/node\(index)/distance") ?? "").split(separator: " ")
          .compactMap { Int($0) })
    }
  }
}

extension MachineFacts.Ring {
  static func gather() -> Self {
    let ring = RingFacts.probe()
    let tables =
      (ring.hasRegisteredFiles ? ["registered files"] : [])
      + (ring.hasRegisteredBuffers ? ["registered buffers"] : [])
    return Self(
      isAvailable: ring.refusal == nil, features: ring.modes.flatMap(\.flagNames) + tables,
      used: ring.used?.flagNames ?? [], refusal: ring.refusal?.description)
  }

  package var findings: [MachineFacts.Finding] {
    guard let refusal else { return [] }
    return [
      .init(
        subject: "io_uring", problem: "\(refusal); threads are used instead",
        remedy:
          "as root `sysctl kernel.io_uring_disabled=0`; in a container also a seccomp profile "
          + "that allows io_uring_setup, io_uring_enter and io_uring_register")
    ]
  }
}
