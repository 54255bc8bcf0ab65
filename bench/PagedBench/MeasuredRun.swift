import Base
import BenchHarness
import Foundation
import Models
import Planning
import Storage
import Training

/// What the counted steps of a run from the seed were like.
struct MeasuredRun {
  /// Of all steps.
  private(set) var losses = Checksum()
  private(set) var timed: [StepMetrics] = []
  /// Those of them that wrote no block for the first time.
  private(set) var settled: [StepMetrics] = []
  /// (token, expert) pairs of the counted steps.
  private(set) var routedTokens = 0
  /// Whether there are two sweeps, of which the first reads upper halves alone.
  private let isModelled: Bool
  let recordBytes: Int
  let stateBytes: Int
  private let slicesPerExpert: Int
  /// That every step brings in and writes, beside experts.
  private let denseBlocks: Int
  /// Layers whose activations need not be computed again, of all.
  let keptLayersShare: Double
  /// The most that the process had resident; nil where it had others open meanwhile.
  private(set) var peakBytes: Int?

  /// Of a run that has made no step yet.
  fileprivate init(_ config: RunConfig, _ session: borrowing TrainingSession) {
    isModelled =
      config.model.weights == "bf16" && config.training.clip != "global"
      && (session.pagedDenseBlocks == 0 || session.store.geometry.format == RecordFormat())
    recordBytes = session.store.geometry.recordBytes
    stateBytes = session.expertStateBytes
    slicesPerExpert = session.slicesPerExpert
    denseBlocks = session.pagedDenseBlocks
    keptLayersShare = session.keptLayersShare
  }

  /// Runs `steps` steps with a store in a directory below `scratch`, which is removed afterwards.
  init(_ config: RunConfig, steps: Int, scratch: String) throws {
    precondition(steps > RunArguments.uncounted, "some steps are counted")
    PeakMemory.reset()
    let run = try SteppedRun(config, scratch: scratch)
    for step in 0..<steps { try run.step(isCounted: step >= RunArguments.uncounted) }
    self = run.measured
    peakBytes = PeakMemory.bytes
  }

  /// Takes in a step.
  /// - Parameter writesNew: it wrote blocks for the first time.
  fileprivate mutating func add(_ metrics: StepMetrics, routedTokens: Int, writesNew: Bool) {
    timed.append(metrics)
    if !writesNew {
      settled.append(metrics)
    } else if let last = settled.last, last.step == metrics.step - 1, last.held_left > 0 {
      // What is new now may be an expert that this step touched and left to the next one.
      settled.removeLast()
    }
    self.routedTokens += routedTokens
  }
  fileprivate mutating func add(loss: Double) { losses.add(loss) }
  /// Counts from here; the losses stay.
  fileprivate mutating func restart() { (timed, settled, routedTokens) = ([], [], 0) }

  var seconds: Double { sum(\.step_s) }
  var stepSeconds: Double { median(timed.map(\.step_s)) }
  var tokensPerSecond: Double { Double(sum(\.tokens)) / seconds }
  var stallShare: Double { sum(\.allStallSeconds) / seconds }
  var hitRate: Double { Double(sum(\.hits)) / Double(max(1, sum(\.visits))) }
  var readBytesPerStep: Double { Double(sum(\.read_bytes)) / Double(timed.count) }
  var unusedBytesPerStep: Double {
    Double(sum(\.anticipated_unused_bytes)) / Double(timed.count)
  }
  var writtenBytesPerStep: Double { Double(sum(\.write_bytes)) / Double(timed.count) }
  /// Records of a step's touched experts.
  var touchedBytesPerStep: Double {
    Double(sum(\.experts_touched) * slicesPerExpert * recordBytes) / Double(timed.count)
  }
  /// Tokens per touched expert: m of the cost model.
  var tokensPerExpert: Double { Double(routedTokens) / Double(max(1, sum(\.experts_touched))) }

  func sum<Number: AdditiveArithmetic>(_ key: KeyPath<StepMetrics, Number>) -> Number {
    timed.reduce(.zero) { $0 + $1[keyPath: key] }
  }

  var figures: [String: Double] {
    let peak = peakBytes.map { ["peak_rss_bytes": Double($0)] } ?? [:]
    return peak.merging([
      "stall_share": stallShare, "hit_rate": hitRate, "step_s": stepSeconds,
      "read_gbps": Double(sum(\.read_bytes)) / seconds / 1e9,
      "write_gbps": Double(sum(\.write_bytes)) / seconds / 1e9,
      "read_bytes": readBytesPerStep, "write_bytes": writtenBytesPerStep,
      "anticipated_unused_bytes": unusedBytesPerStep, "kept_layers_share": keptLayersShare,
      "tokens_per_expert": tokensPerExpert,
    ]) { $1 }
  }

  /// Measured bytes of the settled steps to those of the cost model, reads and writes; nil when
  /// there are none. What is found in memory need not be read; what was read for experts that the gate
  /// then did not choose is told by itself. Paged dense blocks are read as halves in both sweeps, but
  /// where they are in memory already, and whole for their update.
  func bytesAgainstModel(_ needs: RunNeeds) -> (read: Double, written: Double)? {
    guard isModelled, !settled.isEmpty else { return nil }
    let block = BlockBytes(parameters: needs.experts.parametersPerBlock, needs.layout)
    var predicted = (read: 0, written: 0)
    for line in settled {
      let touched = line.experts_touched * slicesPerExpert
      let traffic = StepTraffic(block, touched: touched)
      let halves = line.visits - 2 * touched - line.held_untouched - denseBlocks
      // Updates that are left to the next forward sweep, and those that were left to this one.
      let later = line.held_updated - line.held_left
      let dense = halves * (block.hi + block.lo) + denseBlocks * block.record
      predicted = (
        predicted.read + traffic.readBytes + dense - line.found_bytes
          + line.anticipated_unused_bytes + later * (block.record - block.hi)
          + line.held_untouched * block.hi,
        predicted.written + traffic.writtenBytes + (later + denseBlocks) * block.record
      )
    }
    func ratio(_ key: KeyPath<StepMetrics, Int>, _ predicted: Int) -> Double {
      let measured = settled.reduce(0) { $0 + $1[keyPath: key] }
      return measured == predicted ? 1 : Double(measured) / Double(predicted)
    }
    return (ratio(\.read_bytes, predicted.read), ratio(\.write_bytes, predicted.written))
  }
}

/// A run that stays open between its steps, so that others can have turns.
final class SteppedRun {
  /// Before the directory of its store: what is declared first goes first.
  private var session: TrainingSession
  private let scratch: ScratchDirectory
  private(set) var measured: MeasuredRun

  /// - Parameter scratch: where its store is made, and removed with the run.
  init(_ config: RunConfig, scratch: String) throws {
    self.scratch = try ScratchDirectory(in: scratch)
    session = try TrainingSession(config, storePaths: ["\(self.scratch.path)/store"])
    measured = MeasuredRun(config, session)
  }

  /// - Parameter isAbreast: what it leaves in flight is waited for, else others would wait for it.
  func step(isCounted: Bool, isAbreast: Bool = false) throws {
    let written = session.store.writtenBlocks.count
    var metrics = try session.runStep()
    if isAbreast {
      let seconds = try session.drain()
      metrics.stall_s += seconds
      metrics.step_s += seconds
    }
    measured.add(loss: metrics.loss)
    guard isCounted else { return }
    measured.add(
      metrics, routedTokens: session.routedTokens,
      writesNew: session.store.writtenBlocks.count > written)
  }

  /// One step between those of others, measured by itself.
  func nextStep() throws -> MeasuredRun {
    measured.restart()
    try step(isCounted: true, isAbreast: true)
    return measured
  }
}

extension RunNeeds {
  /// What is kept of a block.
  var layout: RecordLayout {
    RecordLayout(
      hasLowHalves: master == .fp32, states: states, moments: factors == nil ? 2 : 0,
      factors: factors ?? 0)
  }
}
