import Base
import BenchHarness
import DirectIO
import Kernels
import Optimizers
import Paging
import PinnedMemory
import Storage

/// Parameters whose weights and moments are records of a store, with a gradient in memory.
struct PagedTensor: ~Copyable {
  private var pager: Pager
  private let blocks: Int
  /// Every second update goes backwards, so that what is still in memory is found there.
  private let turnsBack: Bool
  private let gradient: Vector<Float>
  private let workers: Workers
  private var step = 0
  /// Seconds of the last commit, which waits for the last writes.
  private(set) var commitSeconds = 0.0
  /// Of the weights of some elements of each record, as they were updated.
  private(set) var checksum = Checksum()

  /// - Parameter bufferBytes: shared out to frames for weights and frames for moments, as many of
  ///   each.
  init(
    directory: String, blocks: Int, blockParameters: Int, bufferBytes: Int, turnsBack: Bool,
    threads: Int
  ) throws {
    let geometry = RecordGeometry(parametersPerBlock: blockParameters)
    let frames = min(blocks, max(3, bufferBytes / geometry.recordBytes))
    let profile = DriveProfiles.ofUser.profile(of: directory)
    var settings = DiskSettings(engine: .automatic, standard: profile?.settings ?? PathSettings())
    settings.hasThread = true
    let store = try Store.open(
      StoreConfiguration(
        paths: [directory], identity: "swap-update", geometry: geometry, blocks: blocks),
      disk: openDisk(settings).disk, create: true)
    let workers = Workers(count: threads)
    var pager = try Pager(
      store: store, frames: FrameBudget(weights: frames, state: frames),
      ledger: MemoryLedger(ceiling: bufferBytes + 4 * geometry.recordBytes))
    pager.forEach = { workers.forEach($0, $1) }
    let gradient = Vector<Float>(count: blocks * blockParameters)
    Self.fill(gradient)
    self.pager = pager
    self.blocks = blocks
    self.turnsBack = turnsBack
    self.gradient = gradient
    self.workers = workers
  }

  /// What has been moved so far, bytes, and seconds of waiting for it.
  var moved: (read: Int, written: Int, stall: Double) {
    let counters = pager.counters
    return (counters.bytesRead, counters.bytesWritten, counters.stallSeconds)
  }

  /// Updates everything so many times and commits. The first time finds blocks that were never
  /// written, and makes them.
  mutating func update(times: Int) throws {
    for _ in 0..<times {
      step += 1
      let order = turnsBack && step % 2 == 0 ? Array((0..<blocks).reversed()) : Array(0..<blocks)
      pager.plan(order.map { Visit(.expert(layer: 0, $0), .all) })
      for block in order { try updateNext(block) }
    }
    let start = ContinuousClock.now
    try pager.commit(step: step, payload: [])
    commitSeconds = (ContinuousClock.now - start) / .seconds(1)
  }

  private mutating func updateNext(_ block: Int) throws {
    var page = try pager.next()
    let count = gradient.count / blocks
    let numbers = AdamW().step(step, learningRate: 1e-3)
    do {
      let isNew = !page.virgin.isEmpty
      var spans = page.spans
      if isNew { Self.clear(&spans) }
      let gradient = Fence(gradient.span).span(block * count..<(block + 1) * count)
      var m = Fence(&spans.m).mutable(Float.self, at: 0, count: count)
      var v = Fence(&spans.v).mutable(Float.self, at: 0, count: count)
      numbers.update(hi: &spans.hi, lo: &spans.lo, m: &m, v: &v, gradient: gradient, on: workers)
      for i in stride(from: 0, to: count, by: max(1, count / 64)) {
        checksum.add(UInt64(joinMaster(hi: spans.hi[i], lo: spans.lo[i]).bitPattern))
      }
    }
    pager.writeBack(page, step: step, tokens: 1)
  }

  private static func clear(_ spans: inout PageSpans) {
    spans.hi.update(repeating: 0)
    spans.lo.update(repeating: 0)
    spans.m.update(repeating: 0)
    spans.v.update(repeating: 0)
  }

  private static func fill(_ gradient: Vector<Float>) {
    var span = gradient.mutableSpan
    for i in span.indices { span[i] = Float(i & 1023) * 0x1p-10 - 0.5 }
  }
}
