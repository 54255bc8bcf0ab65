import Base
import DirectIO
import Glibc
import Testing

/// Threads of a disk stay on the processors of the thread that made it, also when that one goes back
/// to all of its own.
@Suite(.enabled(if: Affinity.processors().count > 1, "needs several processors"))
struct ThreadPlaceTests {
  // In a process of their own: other tests make disks, too.

  @Test(.enabled(if: Engine.present.contains(.background), "needs io_uring"))
  func theThreadOfARingStaysWithItsMaker() async {
    await #expect(processExitsWith: .success) { try expectThreads(1, of: .background) }
  }

  @Test func threadsThatReadAndWriteStayWithTheirMaker() async {
    await #expect(processExitsWith: .success) { try expectThreads(4, of: .threads) }
  }
}

/// So many threads drive a disk of queue depth 4; made on one processor, all of them stay there.
private func expectThreads(_ count: Int, of engine: Engine) throws {
  let scratch = Scratch()
  defer { scratch.remove() }
  let last = try #require(Affinity.processors().last)
  let pin = ThreadPin(to: [last])
  let disk = engine.disk(depth: 4)
  let file = try disk.openFile(scratch.file("a"), byteCount: 4096, .create)
  _ = consume pin
  let memory = Memory(pages: 1)
  #expect(disk.perform(.write, file, offset: 0, memory.slice) == nil)
  let places = threads(named: "disk").map { Affinity.processors(of: $0) }
  #expect(places == Array(repeating: [last], count: count))
  disk.close()
}

/// Threads of this process.
private func threads(named wanted: String) -> [Int32] {
  guard let directory = unsafe opendir("/proc/self/task") else { return [] }
  defer { unsafe _ = closedir(directory) }
  var threads: [Int32] = []
  while let entry = unsafe readdir(directory) {
    let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) {
      unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    guard let thread = Int32(name), firstLine(of: "/proc/self/task/\(name)/comm") == wanted
    else { continue }
    threads.append(thread)
  }
  return threads
}
