import Base
import DirectIO
import Paging
import Simulation
import Storage
import Testing
import Tracing

/// Records of every precision through the pager: the planes that there are, and no others.
@Suite struct RecordFormatTests {
  private let six = blocks(6)

  private func sweeps(_ pager: inout Pager, steps: ClosedRange<Int>) throws {
    for step in steps {
      pager.plan(visits(six, [.hi, .lo]) + visits(six.reversed(), .all))
      for _ in six { try pager.readNext(version: step - 1) }
      for _ in six { try pager.updateNext(step: step, from: step - 1) }
    }
  }

  /// Goal: pages come back as they were written, paged and resident, before and after a commit; every
  /// byte moved is one of a plane that exists.
  @Test(arguments: RecordFormat.all) func pagesComeBack(_ format: RecordFormat) throws {
    let world = try World(blocks: 6, format)
    let geometry = world.geometry
    do {
      let store = try world.open(seed: 3)
      var pager = try World.pager(store, 2, 2)
      try sweeps(&pager, steps: 1...3)
      try pager.commit(step: 3, payload: [])
      #expect(pager.counters.bytesWritten == 3 * 6 * geometry.recordBytes)
      #expect(pager.counters.pagesWritten == 18)
      #expect(
        pager.counters.bytesRead <= 2 * 6
          * (geometry.recordBytes + geometry.planeBytes(.hi)
            + geometry.planeBytes(.lo)))
    }
    let store = try world.open(seed: 4)
    #expect(store.geometry == geometry)
    let record = try #require(store.record(of: six[0]))
    #expect((record.checksums.lo == 0) == (format.master == .bf16))
    var pager = try World.pager(store, 6, 6)
    try sweeps(&pager, steps: 4...5)
    try pager.commit(step: 5, payload: [])
    #expect(try store.scrub().isWhole)
  }

  /// Goal: what is adjacent on the drive is read at once, whatever planes lie between without bytes.
  @Test(arguments: RecordFormat.all) func stateIsReadAtOnce(_ format: RecordFormat) throws {
    let world = try World(blocks: 6, format)
    do {
      var pager = try World.pager(try world.open(seed: 3), 2, 2)
      try sweeps(&pager, steps: 1...1)
      try pager.commit(step: 1, payload: [])
    }
    let store = try world.open(seed: 4)
    var pager = try World.pager(store, 2, 2)
    let recorder = TraceRecorder(.init(blocks: 6, layers: 1, workers: 0))
    pager.trace = Trace(recorder)
    recorder.isRecording = true
    pager.plan([Visit(six[0], .all)])
    pager.keep(try pager.next())
    var reads: [Int] = []
    recorder.transfers.drain { if $0.name == .read { reads.append(Int($0.amount)) } }
    let geometry = store.geometry
    #expect(reads.sorted() == [geometry.weightFrameBytes, geometry.stateFrameBytes].sorted())
  }

  /// Goal: a page of a bfloat16 master has no remainders, asked for or not.
  @Test func aBfloat16MasterHasNoRemainders() throws {
    let world = try World(blocks: 6, RecordFormat(states: .int8, master: .bf16))
    var pager = try World.pager(try world.open(), 2, 2)
    pager.plan([Visit(six[0], [.hi, .lo]), Visit(six[0], .all)])
    var page = try pager.next()
    #expect(page.planes == .hi && page.virgin == .hi && page.lo.isEmpty)
    page.fill(.hi, version: 0)
    pager.keep(page)
    page = try pager.next()
    #expect(page.planes == [.hi, .m, .v] && page.virgin == [.m, .v])
    let low = page.spans.lo.count
    let high = page.spans.hi.count
    #expect(low == 0 && high == 700)
    #expect(page.m.count == 700 + 12 && page.v.count == 712)
    page.fill(.all, version: 1)
    pager.writeBack(page, step: 1, tokens: 1)
  }

  /// Goal: what is damaged is found, in each plane that there is.
  @Test(arguments: [Plane.hi, .m, .v]) func damageIsFound(_ plane: Plane) throws {
    let world = try World(blocks: 6, RecordFormat(states: .int8, master: .bf16))
    do {
      var pager = try World.pager(try world.open(), 2, 2)
      try sweeps(&pager, steps: 1...1)
      try pager.commit(step: 1, payload: [])
    }
    let store = try world.open()
    let offset = store.place(of: six[2]).offset + world.geometry.offset(of: plane)
    world.medium.flipBit(of: world.directory.path + "/pages.bin", byte: offset + 9, bit: 1)
    var reader = try World.pager(store, 2, 2)
    reader.plan(visits(six, .all))
    for block in six {
      do throws(StorageError) {
        let page = try reader.next()
        #expect(page.block != six[2] && page.wrongPlanes(version: 1).isEmpty)
        reader.keep(page)
      } catch {
        guard case .damaged(let damage) = error else { throw error }
        #expect(block == six[2] && damage.plane == plane && damage.offset == offset)
      }
    }
    #expect(reader.counters.visits == 5)
  }
}
