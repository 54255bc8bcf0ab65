import Base
package import PinnedMemory

/// What is degraded between processors, memory and drives: settings of the kernel, and things on
/// different nodes.
package struct NodeFindings {
  /// Settings of the kernel, as it writes them; nil where it has none.
  package struct Settings: Hashable, Sendable {
    package var numaBalancing: String?
    package var zoneReclaimMode: String?
    package var governor: String?
    package var frequencyDriver: String?

    package init() {}

    static func gather() -> Settings {
      let frequency = "/sys/devices/system/cpu/cpu0/cpufreq"
      var settings = Settings()
      settings.numaBalancing = firstLine(of: "/proc/sys/kernel/numa_balancing")
      settings.zoneReclaimMode = firstLine(of: "/proc/sys/vm/zone_reclaim_mode")
      settings.governor = firstLine(of: "\(frequency)/scaling_governor")
      settings.frequencyDriver = firstLine(of: "\(frequency)/scaling_driver")
      return settings
    }
  }

  /// Memory nodes of the whole machine.
  package let nodeCount: Int
  /// The nodes of the drives under the store, those that are known.
  package let driveNodes: [Int]
  /// What this process may use.
  package let topology: Topology
  package let settings: Settings

  package init(
    nodeCount: Int, driveNodes: [Int], topology: Topology, settings: Settings
  ) {
    (self.nodeCount, self.driveNodes) = (nodeCount, driveNodes)
    (self.topology, self.settings) = (topology, settings)
  }

  package var all: [MachineFacts.Finding] {
    let ofNodes = [hidden, balancing, reclaim, farDrives].compactMap { $0 }
    return (nodeCount > 1 ? ofNodes : []) + [governor].compactMap { $0 }
  }

  private var hidden: MachineFacts.Finding? {
    guard !topology.isNumaVisible else { return nil }
    return .init(
      subject: "NUMA", problem: "the kernel refuses memory policies: pools cannot be placed",
      remedy: "in a container `--cap-add SYS_NICE`, or a seccomp profile that allows mbind, "
        + "get_mempolicy and move_pages")
  }

  private var balancing: MachineFacts.Finding? {
    guard let mode = settings.numaBalancing, mode != "0" else { return nil }
    return .init(
      subject: "NUMA balancing",
      problem: "the kernel keeps unmapping pages to see who uses them, and moves those that no "
        + "pool has bound",
      remedy: "`sysctl kernel.numa_balancing=0`")
  }

  private var reclaim: MachineFacts.Finding? {
    guard let mode = settings.zoneReclaimMode, mode != "0" else { return nil }
    return .init(
      subject: "zone reclaim",
      problem: "a full node drops its page cache, and stalls, before another node's free memory "
        + "is used",
      remedy: "`sysctl vm.zone_reclaim_mode=0`")
  }

  /// Drives that are all beside nodes whose processors this process does not use.
  private var farDrives: MachineFacts.Finding? {
    let drives = Set(driveNodes).sorted()
    let own = topology.cpuNodes.map(\.id)
    guard !drives.isEmpty, drives.allSatisfy({ !own.contains($0) }) else { return nil }
    let names = drives.map(String.init).joined(separator: ", ")
    return .init(
      subject: "drives",
      problem: "all are beside node \(names), the processors of this process are not: every "
        + "transfer crosses the link between nodes",
      remedy:
        "`numactl --cpunodebind=\(drives.map(String.init).joined(separator: ",")) pagoda ...`, "
        + "or a store on a drive beside node \(own.map(String.init).joined(separator: " or "))")
  }

  /// These two drivers choose frequencies themselves under that name.
  private static let dynamicDrivers = ["intel_pstate", "amd-pstate-epp"]

  private var governor: MachineFacts.Finding? {
    guard settings.governor == "powersave",
      !Self.dynamicDrivers.contains(settings.frequencyDriver ?? "")
    else { return nil }
    return .init(
      subject: "frequency", problem: "the governor powersave holds the cores at their lowest",
      remedy: "`cpupower frequency-set -g performance`")
  }
}
