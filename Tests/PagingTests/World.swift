import Base
import DirectIO
import Glibc
import Paging
import PinnedMemory
import Simulation
import Storage
import Testing

/// A directory of one test, gone with it.
final class TestDirectory {
  let path: String

  init() throws {
    var template = Array("/tmp/pagoda-pager-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw TestDirectoryError.refused(errno) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { unsafe _ = system("rm -rf '\(path)'") }
}

enum TestDirectoryError: Error { case refused(Int32) }

/// A store of small blocks with padding in every plane.
struct World {
  static let geometry = RecordGeometry(parametersPerBlock: 700)

  let geometry: RecordGeometry
  let directory: TestDirectory
  let medium = SimulatedMedium(seed: 77)
  let blocks: Int

  init(
    blocks: Int = 6, _ format: RecordFormat = RecordFormat(), parameters: Int = 700
  ) throws {
    geometry = RecordGeometry(parametersPerBlock: parameters, format)
    directory = try TestDirectory()
    self.blocks = blocks
  }

  func open(_ disk: any Disk) throws -> Store {
    let configuration = StoreConfiguration(
      paths: [directory.path], identity: "test", geometry: geometry, blocks: blocks)
    return try Store.open(configuration, disk: disk, create: true)
  }

  func open(seed: UInt64 = 1, faults: [Fault] = []) throws -> Store {
    try open(SimulatedDisk(medium, seed: seed, faults: faults))
  }

  static func pager(_ store: Store, _ weights: Int, _ state: Int) throws -> Pager {
    try Pager(
      store: store, frames: FrameBudget(weights: weights, state: state),
      ledger: MemoryLedger(ceiling: 1 << 30))
  }
}

/// What a block must contain: `version` counts its updates; version 0 is what virgin planes are
/// filled with.
func hiBits(_ block: BlockID, _ version: Int, _ index: Int) -> UInt16 {
  UInt16(truncatingIfNeeded: block.index * 977 + version * 31 + index * 7)
}
func loBits(_ block: BlockID, _ version: Int, _ index: Int) -> UInt16 {
  hiBits(block, version, index) ^ 0x5555
}
func momentByte(_ block: BlockID, _ version: Int, _ index: Int) -> UInt8 {
  UInt8(truncatingIfNeeded: block.index * 41 + version * 7 + index % 101)
}

extension Page {
  /// Fills planes as version `version` of the block has them.
  mutating func fill(_ planes: PlaneSet, version: Int) {
    let block = block
    var spans = spans
    if planes.contains(.hi) {
      for i in spans.hi.indices { spans.hi[i] = hiBits(block, version, i) }
    }
    if planes.contains(.lo) {
      for i in spans.lo.indices { spans.lo[i] = loBits(block, version, i) }
    }
    if planes.contains(.m) {
      for i in spans.m.indices { spans.m[i] = momentByte(block, version, i) }
    }
    if planes.contains(.v) {
      for i in spans.v.indices { spans.v[i] = ~momentByte(block, version, i) }
    }
  }

  /// The requested planes whose content is not that of `version`.
  func wrongPlanes(version: Int) -> PlaneSet {
    var wrong: PlaneSet = []
    if planes.contains(.hi), !hi.indices.allSatisfy({ hi[$0] == hiBits(block, version, $0) }) {
      wrong.insert(.hi)
    }
    if planes.contains(.lo), !lo.indices.allSatisfy({ lo[$0] == loBits(block, version, $0) }) {
      wrong.insert(.lo)
    }
    if planes.contains(.m), !m.indices.allSatisfy({ m[$0] == momentByte(block, version, $0) }) {
      wrong.insert(.m)
    }
    if planes.contains(.v), !v.indices.allSatisfy({ v[$0] == ~momentByte(block, version, $0) }) {
      wrong.insert(.v)
    }
    return wrong
  }
}

extension Pager {
  /// Takes the next page, updates it as training would, and gives it back.
  mutating func updateNext(step: Int, from version: Int) throws {
    var page = try next()
    page.fill(page.virgin, version: 0)
    #expect(page.wrongPlanes(version: version).isEmpty)
    page.fill(.all, version: version + 1)
    writeBack(page, step: step, tokens: 2)
  }

  /// Takes the next page, looks at it and keeps it.
  mutating func readNext(version: Int) throws {
    var page = try next()
    page.fill(page.virgin, version: 0)
    #expect(page.wrongPlanes(version: version).isEmpty)
    keep(page)
  }
}

func blocks(_ count: Int) -> [BlockID] { (0..<count).map { .expert(layer: 0, $0) } }
func visits(_ blocks: [BlockID], _ planes: PlaneSet) -> [Visit] {
  blocks.map { Visit($0, planes) }
}

extension RecordFormat {
  /// Those of two moments, and of one that is factored.
  static let all =
    allCases + MasterPrecision.allCases.map { RecordFormat(master: $0, factors: 1200) }
}
