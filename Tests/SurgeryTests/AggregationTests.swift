import Base
import DirectIO
import Foundation
import Kernels
import Models
import Storage
import Surgery
import Testing
import Training

@Suite struct AggregationTests {
  private static let steps = 5

  private func trained(seed: Int, to step: Int = steps) throws -> SmallRun {
    let run = try SmallRun(decoderGate: "token", perToken: 1, seed: seed)
    try run.train(to: step)
    return run
  }

  private func unite(
    _ a: SmallRun, _ b: SmallRun, _ moments: Aggregation.Moments
  ) throws -> (RunDirectory, Aggregation.Report) {
    let output = a.other("both-\(moments)")
    let aggregation = try Aggregation(
      (a.run, a.run.saved), (b.run, b.run.saved), moments: moments)
    return (output, try aggregation.make(output, profiles: a.profiles))
  }

  private func dense(_ run: RunDirectory) throws -> SourceRun {
    try SourceRun(run, run.saved, disk: openDisk().disk, dense: .all)
  }

  /// Shared weights and moments are the mean, to the bit; gates are one above the other; experts'
  /// records are what they were, the second run's behind the first's.
  @Test func theSharedPartIsTheMeanAndExpertsAreUnited() throws {
    let (a, b) = (try trained(seed: 11), try trained(seed: 12))
    let (output, report) = try unite(a, b, .keep)
    let (first, second, both) = (try dense(a.run), try dense(b.run), try dense(output))
    for vector in [\DenseVectors.weights, \.firstMoments, \.secondMoments] {
      let vectors = [first, second, both].map { DenseVectors($0)[keyPath: vector] }
      for (slot, old) in zip(both.description.layout.slots, first.description.layout.slots) {
        let (x, y) = (vectors[0][old.range], vectors[1][old.range])
        let united = Array(vectors[2][slot.range])
        if old.parts[0].name.contains("router") {
          #expect(slot.rows == 12 && united == Array(x + y))
        } else {
          #expect(united == zip(x, y).map { 0.5 * ($0 + $1) }, "\(old.parts[0].name)")
        }
      }
    }
    let (mine, theirs, all) = (
      try a.run.checksums(), try b.run.checksums(), try output.checksums()
    )
    for (block, sums) in mine where block.kind == .expert { #expect(all[block] == sums) }
    for (block, sums) in theirs where block.kind == .expert {
      #expect(all[.expert(layer: block.layer, block.index + 6, slice: block.slice)] == sums)
    }
    #expect(report.experts == 12 && report.step == Self.steps)
    #expect(report.adopted == (Array(mine.keys) + theirs.keys).count { $0.kind == .expert })
  }

  /// Factored second moments are united as the weights are: means averaged, those of a gate's rows one
  /// above the other.
  @Test func factorsAreUnitedToo() throws {
    let runs = try [11, 12].map { seed in
      var run = try SmallRun(decoderGate: "token", perToken: 1, seed: seed)
      run.config.training.optim = "adafactor"
      try run.train(to: 3)
      return run
    }
    let (output, _) = try unite(runs[0], runs[1], .keep)
    let (a, b, both) = (try dense(runs[0].run), try dense(runs[1].run), try dense(output))
    for (number, slot) in both.description.layout.slots.enumerated() {
      let (x, y) = (a.dense.factors(number).values, b.dense.factors(number).values)
      let found = both.dense.factors(number).values
      let mean = zip(x, y).map { 0.5 * ($0 + $1) }
      if slot.parts[0].name.contains("router") {
        #expect(found == Array(x[..<6] + y[..<6]) + mean[6...])
      } else {
        #expect(found == mean)
      }
      #expect(found.contains { $0 > 0 }, "\(slot.parts[0].name)")
    }
    // Their directories are theirs.
    withExtendedLifetime(runs) {}
  }

  /// It begins where the two were: after as many further steps its held-out loss is below that of a run
  /// with as many experts from scratch.
  @Test func aUnionIsAheadOfANewRun() throws {
    let (a, b) = (try trained(seed: 11, to: 20), try trained(seed: 12, to: 20))
    let (output, _) = try unite(a, b, .zero)
    try a.train(output.saved, output, to: 8)
    var scratch = try SmallRun(decoderGate: "token", perToken: 1, seed: 11)
    scratch.config.model.num_experts = 12
    try scratch.train(to: 8)
    func loss(_ run: RunDirectory) throws -> Double {
      let evaluation = try RunEvaluation(
        run, run.saved, memory: 400 << 20, sentences: 0, TextGenerator.Settings(),
        isStopping: { false })
      return try #require(evaluation.heldout?.loss)
    }
    #expect(try loss(output) < loss(scratch.run) - 0.1)
  }

  /// The store grows by what it took over: as many records as both had, and one dense part.
  @Test func aUnionTakesWhatBothTook() throws {
    let (a, b) = (try trained(seed: 11), try trained(seed: 12))
    let (output, _) = try unite(a, b, .keep)
    let counts = try [a.run, b.run, output].map { run in
      try run.checksums().keys.count { $0.kind == .expert }
    }
    #expect(counts[2] == counts[0] + counts[1])
    let store = try output.store()
    let attributes = try FileManager.default.attributesOfItem(atPath: output.store + "/pages.bin")
    let blocks = 2 * 12 * SmallRun.slices + store.writtenBlocks.count { $0.kind != .expert }
    #expect(
      attributes[.size] as? Int
        == SmallRun.newStoreBytes(blocks: blocks, store.geometry.recordBytes))
  }

  /// It goes on from there.
  @Test(arguments: Aggregation.Moments.allCases)
  func theUnionIsTrainedOn(_ moments: Aggregation.Moments) throws {
    let (a, b) = (try trained(seed: 11), try trained(seed: 12))
    let (output, report) = try unite(a, b, moments)
    #expect(report.step == (moments == .keep ? Self.steps : 0))
    let outcome = try a.train(output.saved, output, to: report.step + 3)
    #expect(outcome.isFinished && outcome.progress.step == report.step + 3)
    #expect(try output.answers().count == 3)
  }

  /// Without moments every weight is still what it was: no expert of the second run, met in training or
  /// never, is taken for one of the first's seed.
  @Test func weightsSurviveWithoutMoments() throws {
    let (a, b) = (try trained(seed: 11, to: 1), try trained(seed: 12, to: 2))
    let (output, report) = try unite(a, b, .zero)
    #expect(report.adopted == 0 && report.step == 0)
    var first = try ExpertReader(a.run, a.run.saved)
    var second = try ExpertReader(b.run, b.run.saved)
    var both = try ExpertReader(output, output.saved)
    for layer in 0..<2 {
      for expert in 0..<6 {
        for slice in 0..<SmallRun.slices {
          let block = BlockID.expert(layer: layer, expert, slice: slice)
          let other = BlockID.expert(layer: layer, expert + 6, slice: slice)
          let found = [try both.weights(block), try both.weights(other)]
          let wanted = [try first.weights(block), try second.weights(block)]
          #expect(found == wanted)
        }
      }
    }
    let store = try output.store()
    for block in store.writtenBlocks where block.kind == .expert {
      #expect(store.record(of: block)?.history.updates == 0)
    }
  }

  @Test func runsOfAnotherShapeAreRefused() throws {
    let a = try trained(seed: 11, to: 1)
    var b = try SmallRun(decoderGate: "token", perToken: 1, seed: 12)
    b.config.model.ffn_dim = 32
    try b.train(to: 1)
    #expect(throws: SurgeryError.self) { try unite(a, b, .zero) }
    let late = try trained(seed: 13, to: 2)
    #expect(throws: SurgeryError.otherStep(path: late.run.path, step: 2, other: 1)) {
      try unite(a, late, .keep)
    }
  }
}

/// The vectors of a run's dense part as arrays.
private struct DenseVectors {
  let weights: [Float]
  let firstMoments: [Float]
  let secondMoments: [Float]

  init(_ run: SourceRun) {
    weights = run.dense.weights.values
    firstMoments = run.dense.firstMoments.values
    secondMoments = run.dense.secondMoments.values
  }
}

extension FloatBuffer {
  fileprivate var values: [Float] { matrix(rows: 1, columns: count).values }
}

extension ExpertReader {
  fileprivate mutating func weights(_ block: BlockID) throws -> [Float] {
    let floats = FloatBuffer(count: 32 * 64 * 2 / SmallRun.slices)
    try readWeights(block, into: floats)
    return floats.values
  }
}
