import Base
import DirectIO
import Glibc
import PinnedMemory
import Simulation
import Storage
import Testing

/// A directory of one test, gone with it.
final class TestDirectory: Sendable {
  let path: String

  init(in parent: String = "/tmp") throws {
    var template = Array("\(parent)/pagoda-store-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw TestDirectoryError.refused(errno) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { unsafe _ = system("rm -rf '\(path)'") }

  /// Names and digests of every file, for "nothing was touched".
  func contents(except ignored: String? = nil) -> [String: Int] {
    var result: [String: Int] = [:]
    guard let directory = unsafe opendir(path) else { return result }
    defer { unsafe _ = closedir(directory) }
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafeBytes(of: entry.pointee.d_name) {
        unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if ![".", "..", ignored].contains(name) {
        result[name] = readBytes(path + "/" + name).hashValue
      }
    }
    return result
  }
}

enum TestDirectoryError: Error { case refused(Int32) }

func readBytes(_ path: String) -> [UInt8] {
  guard let file = unsafe fopen(path, "r") else { return [] }
  defer { unsafe _ = fclose(file) }
  var bytes: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = unsafe fread(&buffer, 1, buffer.count, file)
    if count == 0 { return bytes }
    bytes += buffer[..<count]
  }
}

func writeBytes(_ path: String, _ bytes: [UInt8]) {
  guard let file = unsafe fopen(path, "w") else { return }
  unsafe _ = fwrite(bytes, 1, bytes.count, file)
  unsafe _ = fclose(file)
}

let testGeometry = RecordGeometry(parametersPerBlock: 1500)

func configuration(
  _ paths: [String], bandwidths: [Double]? = nil, identity: String = "run A", blocks: Int = 6,
  geometry: RecordGeometry = testGeometry, keep: Int = 1, isWrittenOnce: Bool = false
) -> StoreConfiguration {
  StoreConfiguration(
    paths: paths, bandwidths: bandwidths, identity: identity, geometry: geometry, blocks: blocks,
    keep: keep, isWrittenOnce: isWrittenOnce)
}

/// A store with one record of memory, which moves records and waits for each.
struct RecordMover {
  let store: Store
  let memory: PinnedSlice
  private let pool: FramePool

  init(_ store: Store) throws {
    self.store = store
    pool = try FramePool(
      name: "record", frameCount: 1, frameBytes: store.geometry.recordBytes,
      ledger: MemoryLedger(ceiling: 1 << 30))
    memory = pool.memory[0]
  }

  /// Writes a record that `value` decides.
  func write(
    _ block: BlockID, _ value: UInt8, step: Int = 1, isLate: Bool = false
  ) throws {
    unsafe memory.bytes.copyBytes(from: Self.bytes(value, store.geometry))
    let sums = PlaneValues(hi: Plane.hi, lo: .lo, m: .m, v: .v).map {
      store.geometry.planes.contains($0) ? planeChecksum(of: slice($0)) : 0
    }
    let place = store.beginWrite(
      block, isLate: isLate, checksums: sums,
      history: BlockHistory(lastStep: step, updates: Int(value), tokens: 10 * Int(value)))
    try move(.write, #require(place))
  }

  /// The record's bytes and the damage of its planes.
  func read(_ block: BlockID) throws -> (bytes: [UInt8], damage: [Damage]) {
    try move(.read, store.place(of: block))
    let damage = store.geometry.planes.planes.compactMap {
      store.damage(of: $0, in: block, found: planeChecksum(of: slice($0)))
    }
    return (unsafe Array(memory.bytes), damage)
  }

  static func bytes(_ value: UInt8, _ geometry: RecordGeometry) -> [UInt8] {
    (0..<geometry.recordBytes).map { UInt8(truncatingIfNeeded: $0 / 7 &+ $0 / 4096) ^ value }
  }

  private func slice(_ plane: Plane) -> PinnedSlice {
    unsafe PinnedSlice(
      address: memory.address + store.geometry.offset(of: plane),
      byteCount: store.geometry.planeBytes(plane))
  }

  private func move(_ kind: Transfer.Kind, _ place: RecordPlace) throws {
    store.disk.submit(Transfer(kind, place.file, offset: place.offset, memory: memory, tag: 9))
    let completion = try #require(store.disk.nextCompletion(wait: true))
    if let failure = completion.failure { throw failure }
  }
}
