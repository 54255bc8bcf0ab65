import Base
import Testing

@Suite struct SystemTextTests {
  @Test func kernelTextsAreParsed() {
    #expect(integerList("0-3,8,10-11") == [0, 1, 2, 3, 8, 10, 11])
    #expect(integerList("") == [])
    #expect(chosen("always [madvise] never") == "madvise")
    let info = meminfo("MemTotal:  100 kB\nHugePages_Total:   5\nActive(anon): 2 kB")
    #expect(info["MemTotal"] == 102_400 && info["HugePages_Total"] == 5)
    let process = meminfo("Name:\tpagoda\nVmHWM:\t   43304 kB\nVmRSS:\t21736092 kB\nThreads:\t4")
    #expect(process == ["VmHWM": 44_343_296, "VmRSS": 22_257_758_208, "Threads": 4])
    let node = nodeMeminfo("Node 12 MemTotal:  100 kB\nNode 12 Active(file):  3 kB")
    #expect(node == ["MemTotal": 102_400, "Active(file)": 3072])
  }

  @Test func filesAreReadOrMissing() throws {
    #expect(try #require(text(of: "/proc/self/status")).contains("VmRSS"))
    #expect(text(of: "/proc/no-such-file") == nil && firstLine(of: "/proc/no-such-file") == nil)
  }
}
