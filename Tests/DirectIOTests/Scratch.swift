import Base
import DirectIO
import Glibc
import PinnedMemory

/// A directory of one test, removed with everything in it.
final class Scratch {
  let path: String

  init() {
    let base = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
    var template = Array("\(base)/pagoda-XXXXXX".utf8CString)
    unsafe template.withUnsafeMutableBufferPointer { unsafe _ = mkdtemp($0.baseAddress!) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { remove() }

  /// Also for tests that end in a trap, which no deinit survives; open files stay usable.
  func remove() {
    for name in names where unsafe unlink(file(name)) != 0 {
      for inner in Self.names(in: file(name)) { unsafe _ = unlink(file("\(name)/\(inner)")) }
      unsafe _ = rmdir(file(name))
    }
    unsafe _ = rmdir(path)
  }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  var names: [String] { Self.names(in: path) }

  /// Whether files here bypass the page cache.
  static let isDirect: Bool = {
    let (scratch, disk) = (Scratch(), Engine.threads.disk())
    guard let file = try? disk.openFile(scratch.file("a"), byteCount: 4096, .create) else {
      return false
    }
    return disk.isDirect(file)
  }()

  private static func names(in path: String) -> [String] {
    guard let directory = unsafe opendir(path) else { return [] }
    defer { unsafe _ = closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
        unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }
}

/// Aligned memory of one test. The tests of the disk need no page locks.
@safe final class Memory {
  let slice: PinnedSlice

  init(pages: Int) {
    let byteCount = pages * 4096
    slice = unsafe PinnedSlice(
      address: .allocate(byteCount: byteCount, alignment: 4096), byteCount: byteCount)
    unsafe slice.bytes.initializeMemory(as: UInt8.self, repeating: 0)
  }
  deinit { unsafe slice.address.deallocate() }

  func pages(_ range: Range<Int>) -> PinnedSlice {
    precondition(range.upperBound * 4096 <= slice.byteCount)
    return unsafe PinnedSlice(
      address: slice.address + range.lowerBound * 4096, byteCount: range.count * 4096)
  }

  /// Numbers that name their page and version, so that a page in the wrong place is seen.
  func fill(version: UInt32) {
    let byteCount = slice.byteCount
    let random = Philox(seed: UInt64(version), purpose: .test)
    unsafe slice.bytes.withMemoryRebound(to: SIMD4<UInt32>.self) { words in
      for index in 0..<byteCount / 16 {
        unsafe words[index] = random.words(UInt32(index), 0, 0)
      }
    }
  }
  func clear() { unsafe _ = memset(slice.address, 0, slice.byteCount) }

  func equals(_ other: Memory) -> Bool {
    slice.byteCount == other.slice.byteCount && equals(other, pages: 0..<slice.byteCount / 4096)
  }
  func equals(_ other: Memory, pages range: Range<Int>) -> Bool {
    let (mine, others) = (pages(range), other.pages(range))
    return unsafe memcmp(mine.address, others.address, mine.byteCount) == 0
  }
}

/// The engines of this machine.
enum Engine: String, CaseIterable, Sendable {
  case ring, threads
  /// A ring that a thread of its own drives.
  case background

  static let present: [Engine] = allCases.filter {
    openDisk(preferring: $0.preference).disk.engine == $0.engineName
  }
  var preference: EnginePreference { self == .threads ? .threads : .ring }
  var engineName: String { self == .threads ? "threads" : "io_uring" }

  func disk(depth: Int = 8, requestPages: Int = 256) -> any Disk {
    var settings = DiskSettings(
      engine: preference,
      standard: PathSettings(requestBytes: requestPages * 4096, queueDepth: depth))
    settings.hasThread = self == .background
    return openDisk(settings).disk
  }
}

extension Disk {
  /// Submits one transfer and waits for it.
  func perform(
    _ kind: Transfer.Kind, _ file: DiskFile, offset: Int, _ memory: PinnedSlice
  ) -> DiskError? {
    submit(Transfer(kind, file, offset: offset, memory: memory, tag: 1))
    return nextCompletion(wait: true)?.failure
  }
}

/// How many descriptors of this process name `path`.
func openDescriptors(of path: String) -> Int {
  guard let directory = unsafe opendir("/proc/self/fd") else { return -1 }
  defer { unsafe _ = closedir(directory) }
  var count = 0
  while let entry = unsafe readdir(directory) {
    let name = unsafe withUnsafeBytes(of: entry.pointee.d_name) {
      unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    var target = [CChar](repeating: 0, count: 4096)
    let length = unsafe readlink("/proc/self/fd/\(name)", &target, target.count)
    let place = target.prefix(max(0, length)).map { UInt8(bitPattern: $0) }
    if String(decoding: place, as: UTF8.self) == path { count += 1 }
  }
  return count
}
