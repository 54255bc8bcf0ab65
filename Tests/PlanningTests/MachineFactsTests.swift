import DirectIO
import Glibc
import Planning
import Testing

@Suite struct MachineFactsTests {
  @Test func thisMachineIsDescribed() {
    let facts = MachineFacts.gather(directories: ["/tmp", "/pagoda-no-such-place"])
    #expect(!facts.kernel.isEmpty && facts.kernel != "unknown")
    #expect(facts.processor.logicalCores > 0)
    #expect(facts.memory.totalBytes > facts.memory.availableBytes / 2)
    #expect(facts.nodes.allSatisfy { $0.totalBytes > 0 })
    #expect(facts.ring.isAvailable == (openDisk().disk.engine == "io_uring"))

    let (present, missing) = (facts.directories[0], facts.directories[1])
    #expect(present.isDirectory && present.isWritable && present.freeBytes > 0)
    #expect(present.fileSystem != "unknown" && "/tmp".hasPrefix(present.mountPoint))
    #expect(!missing.isDirectory && !missing.isWritable)
    #expect(facts.findings.contains { $0.subject == "/pagoda-no-such-place" })
    #expect(facts.findings.allSatisfy { !$0.problem.isEmpty && !$0.remedy.isEmpty })
  }

  @Test func processorsAreRead() {
    let cpuinfo = """
      processor\t: 0
      model name\t: Some CPU @ 2.0GHz
      flags\t\t: fpu fma avx2 avx512f
      processor\t: 1
      model name\t: Some CPU @ 2.0GHz
      flags\t\t: fpu fma avx2 avx512f
      """
    let processor = MachineFacts.Processor(cpuinfo: cpuinfo)
    #expect(processor.model == "Some CPU @ 2.0GHz")
    #expect(processor.logicalCores == 2 && processor.hasAVX2 && processor.hasAVX512)
    #expect(processor.findings.isEmpty)
    let old = MachineFacts.Processor(cpuinfo: "processor : 0\nflags : fpu sse2")
    #expect(!old.hasAVX2 && old.findings.count == 1)
  }

  @Test func mountsAreFound() {
    let mounts = MountPoint.parse(
      """
      27 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
      30 27 0:24 / /dev/shm rw - tmpfs tmpfs rw
      31 27 259:9 / /mnt/big\\040drive rw,noatime master:1 shared:2 - xfs /dev/nvme1n1 rw
      broken line
      """)
    #expect(mounts.count == 3)
    let big = MountPoint.holding("/mnt/big drive/store", of: mounts)
    #expect(big?.fileSystem == "xfs" && big?.source == "/dev/nvme1n1" && big?.device == "259:9")
    #expect(MountPoint.holding("/mnt/big drives", of: mounts)?.path == "/")
    #expect(MountPoint.holding("/dev/shm", of: mounts)?.fileSystem == "tmpfs")
  }
}
