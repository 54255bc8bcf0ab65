import Base
import Paging
import Simulation
import Storage
import Testing

/// Checksums that a page's holder takes while it changes the page.
@Suite struct PieceSumsTests {
  private let block = blocks(1)[0]
  /// Pieces that end in a chunk, at its end, and at the end of a plane.
  private static let parameters = 8192 * 3 + 1000

  private func takeAll(_ sums: PieceSums?, chunk: Int) {
    for first in stride(from: 0, to: Self.parameters, by: chunk) {
      let end = min(first + chunk, Self.parameters)
      sums?.take(first..<end, isLast: end == Self.parameters)
    }
  }

  /// Writes the block after `change` and looks at what is on the disk.
  private func isWhole(
    _ format: RecordFormat, _ change: (inout Page) throws -> Void
  ) throws -> Bool {
    let world = try World(blocks: 6, format, parameters: Self.parameters)
    let store = try world.open()
    var pager = try World.pager(store, 2, 2)
    pager.plan([Visit(block, .all)])
    var page = try pager.next()
    page.fill(.all, version: 1)
    try change(&page)
    pager.writeBack(page, step: 1, tokens: 1)
    try pager.commit(step: 1, payload: [])
    return try store.scrub().isWhole
  }

  /// Goal: the checksums are those of the bytes, whatever was taken in advance and in what chunks.
  @Test(arguments: RecordFormat.all, [8192, 10_000, 700])
  func arePartsOfThePlanes(_ format: RecordFormat, chunk: Int) throws {
    let isWhole = try isWhole(format) { page in
      let sums = page.spans.sums
      #expect(sums != nil)
      takeAll(sums, chunk: chunk)
    }
    #expect(isWhole)
  }

  /// Goal: what is taken is what is written down, nothing computes it once more.
  @Test func areNotComputedAgain() throws {
    #expect(
      try !isWhole(RecordFormat()) { page in
        var spans = page.spans
        takeAll(spans.sums, chunk: 8192)
        spans.hi[8192 * 2 + 5] ^= 1
      })
  }

  /// Goal: a page that is changed once more has no checksums of before.
  @Test func areForgottenWhereThePageIsChangedAgain() throws {
    #expect(
      try isWhole(RecordFormat()) { page in
        takeAll(page.spans.sums, chunk: 8192)
        page.fill(.all, version: 2)
      })
    #expect(
      try isWhole(RecordFormat()) { page in
        takeAll(page.spans.sums, chunk: 8192)
        var bytes = page.bytes(.m)
        bytes[77] ^= 1
      })
  }

  /// Goal: a page that stays in memory until a commit has none.
  @Test func areNotTakenOfWhatIsNotWritten() throws {
    let world = try World(blocks: 6)
    var pager = try World.pager(try world.open(), 6, 6)
    pager.plan([Visit(block, .all)])
    var page = try pager.next()
    page.fill(.all, version: 0)
    let hasSums = page.spans.sums != nil
    #expect(!hasSums)
    pager.keep(page)
  }
}

/// Pages whose holders compare the checksums themselves.
@Suite struct HolderCheckTests {
  private static let parameters = 8192 + 900
  private let six = blocks(6)
  private func visits(_ planes: PlaneSet) -> [Visit] {
    six.map { Visit($0, planes, isCheckedByHolder: true) }
  }

  /// Writes version 1 of all blocks.
  private func prepare(_ format: RecordFormat) throws -> World {
    let world = try World(blocks: 6, format, parameters: Self.parameters)
    var pager = try World.pager(try world.open(), 2, 2)
    pager.plan(PagingTests.visits(six, .all))
    for _ in six { try pager.updateNext(step: 1, from: 0) }
    try pager.commit(step: 1, payload: [])
    return world
  }

  /// Adds 1 to every byte of the moments, as an update would: before that takes the checksums of what
  /// was read.
  private func update(_ pager: inout Pager) throws {
    var page = try pager.next()
    repeat {
      let sums = page.sums(toCheck: .all)
      sums?.take(0..<8192, isLast: false)
      sums?.take(8192..<Self.parameters, isLast: true)
      var spans = page.spans
      for i in spans.m.indices { spans.m[i] &+= 1 }
      for i in spans.v.indices { spans.v[i] &+= 1 }
      guard try !pager.check(&page, sums, isChanged: true) else { break }
    } while true
    pager.writeBack(page, step: 2, tokens: 1)
  }

  /// Goal: an update that began with wrong bytes is done again with the right ones, whichever read had
  /// them wrong; what is committed is right.
  @Test(arguments: RecordFormat.all) func wrongBytesAreUpdatedAgain(_ format: RecordFormat)
    throws
  {
    var repeated = 0
    for read in 0...13 {
      let world = try prepare(format)
      let store = try world.open(seed: 5, faults: [.bitFlip(read: read)])
      var pager = try World.pager(store, 2, 2)
      pager.plan(visits(.all))
      for _ in six { try update(&pager) }
      try pager.commit(step: 2, payload: [])
      repeated += pager.counters.repeatedReads
      pager.plan(PagingTests.visits(six, .all))
      for block in six {
        let page = try pager.next()
        let isUpdated = page.isUpdated()
        #expect(isUpdated, "\(block)")
        pager.keep(page)
      }
      #expect(try store.scrub().isWhole)
    }
    #expect(repeated == 12)
  }

  /// Goal: what was left unchecked by one holder is checked for the next that does not check itself.
  @Test func whatNobodyCheckedIsCheckedForTheNext() throws {
    for read in 1...12 {
      let world = try prepare(RecordFormat())
      let store = try world.open(seed: 5, faults: [.bitFlip(read: read)])
      var pager = try World.pager(store, 6, 6)
      pager.plan(visits(.all))
      for _ in six { pager.keep(try pager.next()) }
      #expect(pager.counters.repeatedReads == 0)
      pager.plan(PagingTests.visits(six, .all))
      for _ in six { try pager.readNext(version: 1) }
      #expect(pager.counters.repeatedReads <= 1)
    }
  }

  /// Goal: damage of a generation on its way is found when its record is read, while that generation can
  /// still be given up; with the generation durable its holder compares.
  @Test func aGenerationOnItsWayIsCheckedAtOnce() throws {
    var pager = try World.pager(try prepare(RecordFormat()).open(), 2, 2)
    pager.plan(visits(.all))
    for _ in six { try update(&pager) }
    try pager.freeze(step: 2, payload: [], late: [six[0]])
    let isCheckedAtOnce = try !needsCheck(six[3], &pager)
    #expect(isCheckedAtOnce)
    var late = try pager.blank(six[0])
    late.fill(.all, version: 2)
    pager.writeBackLate(late, step: 2)
    try pager.finishCommit()
    let isCheckedLater = try needsCheck(six[1], &pager)
    #expect(isCheckedLater)
  }

  private func needsCheck(_ block: BlockID, _ pager: inout Pager) throws -> Bool {
    pager.plan([Visit(block, .all, isCheckedByHolder: true)])
    let page = try pager.next()
    let needsCheck = page.sums(toCheck: .all) != nil
    pager.keep(page)
    return needsCheck
  }

  /// Goal: decay is named, and nothing is made of it.
  @Test(arguments: Plane.allCases) func decayNamesThePlane(_ plane: Plane) throws {
    let world = try prepare(RecordFormat())
    let store = try world.open()
    let offset = store.place(of: six[2]).offset + world.geometry.offset(of: plane)
    world.medium.flipBit(of: world.directory.path + "/pages.bin", byte: offset + 9, bit: 1)
    var pager = try World.pager(store, 2, 2)
    pager.plan(visits(.all))
    try update(&pager)
    try update(&pager)
    do {
      try update(&pager)
      Issue.record("a damaged record is updated")
    } catch let error as StorageError {
      guard case .damaged(let damage) = error else { throw error }
      #expect(damage.block == six[2] && damage.plane == plane && damage.offset == offset)
    }
    #expect(throws: StorageError.self) { try pager.commit(step: 2, payload: []) }
  }
}

extension Page {
  /// Whether it is version 1 with 1 added to each byte of its moments.
  fileprivate func isUpdated() -> Bool {
    for i in hi.indices where hi[i] != hiBits(block, 1, i) { return false }
    for i in m.indices where m[i] != momentByte(block, 1, i) &+ 1 { return false }
    for i in v.indices where v[i] != ~momentByte(block, 1, i) &+ 1 { return false }
    return true
  }
}
