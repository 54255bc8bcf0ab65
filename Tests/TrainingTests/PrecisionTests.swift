import Base
import Foundation
import Storage
import TestSupport
import Testing
import Training

/// The first promise for every precision of moments and master, and for moments that are factored: what is computed is the same paged and
/// resident, on any number of threads, stopped and continued, exported and imported.
@Suite struct PrecisionTests {
  struct Precision: CustomTestStringConvertible, Hashable, Sendable {
    let states: StatePrecision
    let master: MasterPrecision
    var optim = "adamw"
    var testDescription: String { "\(optim), states \(states), master \(master)" }
  }

  static let factored = MasterPrecision.allCases.map {
    Precision(states: .fp32, master: $0, optim: "adafactor")
  }
  static let all =
    StatePrecision.allCases.flatMap { states in
      MasterPrecision.allCases.map { Precision(states: states, master: $0) }
    } + factored
  static let small = all.filter { $0 != Precision(states: .fp32, master: .fp32) }

  private static let steps = 5

  private struct Result: Sendable {
    let metrics: [StepMetrics]
    let checksums: [BlockID: [UInt64]]
  }

  private static func run(_ precision: Precision) throws -> TinyRun {
    var run = try TinyRun()
    run.config.training.states = precision.states.rawValue
    run.config.training.master = precision.master.rawValue
    run.config.training.optim = precision.optim
    return run
  }

  /// Computed once each: resident, one thread.
  private static let references: [Precision: Swift.Result<Result, any Error>] =
    Dictionary(
      uniqueKeysWithValues: all.map { precision in
        (
          precision,
          Swift.Result {
            var run = try run(precision)
            run.config.memory.resident = true
            run.config.memory.budget = "1GiB"
            return Result(metrics: try run.train(to: steps), checksums: try run.checksums())
          }
        )
      })

  private func reference(_ precision: Precision) throws -> Result {
    try Self.references[precision]!.get()
  }

  @Test(arguments: small) func pagedOnThreadsComputesTheSame(_ precision: Precision) throws {
    let reference = try reference(precision)
    var run = try Self.run(precision)
    run.config.compute.threads = 3
    run.config.storage.engine = "threads"
    run.config.memory.budget = "\(try run.config.leastBudget())"
    let metrics = try run.train(to: Self.steps)
    #expect(metrics.dropFirst().allSatisfy { $0.read_bytes > 0 })
    #expect(metrics.map(\.computed) == reference.metrics.map(\.computed))
    #expect(try run.checksums() == reference.checksums)
  }

  /// A dense part that is paged, too, is updated in pages that are strips of fp32.
  @Test(arguments: small) func aPagedDensePartComputesTheSame(_ precision: Precision) throws {
    let reference = try reference(precision)
    var run = try Self.run(precision)
    run.config.memory.dense = "paged"
    run.config.compute.threads = 2
    run.config.memory.budget = "\(try run.config.leastBudget())"
    let metrics = try run.train(to: 2) + run.train(to: Self.steps)
    #expect(metrics.map(\.computed) == reference.metrics.map(\.computed))
    let sums = try run.checksums().filter { $0.key.kind == .expert }
    #expect(sums == reference.checksums.filter { $0.key.kind == .expert })
  }

  /// The dense part loses nothing on its way through a store of less precision.
  @Test(arguments: small) func aResumedRunComputesTheSame(_ precision: Precision) throws {
    let reference = try reference(precision)
    var run = try Self.run(precision)
    run.config.memory.budget = "\(try run.config.leastBudget())"
    var metrics: [StepMetrics] = []
    for step in 1...Self.steps { metrics += try run.train(to: step) }
    #expect(metrics.map(\.computed) == reference.metrics.map(\.computed))
    #expect(try run.checksums() == reference.checksums)
  }

  /// Untouched experts that decay, and a norm over everything: both go through the same update.
  @Test(arguments: [Precision(states: .int8, master: .bf16)] + factored)
  func decayAndGlobalClippingComputeTheSame(_ precision: Precision) throws {
    func run(resident: Bool) throws -> (metrics: [StepMetrics], checksums: [BlockID: [UInt64]]) {
      var run = try Self.run(precision)
      run.config.model.num_experts = 24
      run.config.training.untouched = "decay"
      run.config.training.clip = "global"
      run.config.memory.resident = resident
      run.config.memory.budget = resident ? "1GiB" : "\(try run.config.leastBudget())"
      return (try run.train(to: 3), try run.checksums())
    }
    let (paged, resident) = (try run(resident: false), try run(resident: true))
    #expect(paged.metrics.map(\.computed) == resident.metrics.map(\.computed))
    #expect(paged.checksums == resident.checksums)
  }

  /// Exported with its moments and imported again, a run goes on with the same bits.
  @Test(arguments: [Precision(states: .int8, master: .bf16), .init(states: .bf16, master: .fp32)])
  func anImportedRunComputesTheSame(_ precision: Precision) throws {
    let reference = try reference(precision)
    let run = try Self.run(precision)
    try run.trainInDirectory(to: 3)
    let (path, _) = try run.export("export") { $0.hasOptimizer = true }
    let (copy, report) = try run.imported(path)
    #expect(report.step == 3)
    let (weights, _) = try run.export("weights")
    let file = "/model.safetensors"
    #expect(
      FileManager.default.contents(atPath: weights + file) != nil
        && FileManager.default.contents(atPath: weights + file)
          == FileManager.default.contents(atPath: path + file)
    )
    let metrics = try copy.train(to: Self.steps)
    #expect(metrics.map(\.computed) == reference.metrics[3...].map(\.computed))
    #expect(try copy.checksums() == reference.checksums)
  }

  /// Factored moments have no place in files of tensors; weights have theirs, and train on.
  @Test func factoredMomentsAreNotExported() throws {
    let run = try Self.run(Self.factored[0])
    try run.trainInDirectory(to: 2)
    #expect(throws: ExchangeError.self) {
      _ = try run.export("export") { $0.hasOptimizer = true }
    }
    let (path, _) = try run.export("weights")
    let (copy, report) = try run.imported(path)
    #expect(report.step == 0 && !report.hasOptimizer)
    let metrics = try copy.train(to: 1)
    #expect(metrics[0].loss.isFinite)
    #expect(try copy.reader().geometry.format.factors != nil)
  }

  /// Less precision changes what is computed, a little; the first loss is of the same weights where
  /// the forward sweep reads upper halves alone.
  @Test(arguments: small) func precisionIsPartOfWhatIsComputed(_ precision: Precision) throws {
    let exact = try reference(Precision(states: .fp32, master: .fp32)).metrics
    let found = try reference(precision).metrics
    #expect(found[0].loss == exact[0].loss)
    #expect(found[4].loss != exact[4].loss)
    // Adafactor is another optimizer, whose steps are others.
    #expect(abs(found[4].loss / exact[4].loss - 1) < (precision.optim == "adamw" ? 0.01 : 0.05))
  }

  /// The same weights in less room, and a run of one precision is none of another.
  @Test(arguments: small) func recordsAreSmallerAndOthersAreRefused(_ precision: Precision) throws {
    var run = try Self.run(precision)
    run.config.storage.block_bytes = "64MiB"
    _ = try run.train(to: 1)
    let geometry = try run.reader().geometry
    #expect(geometry.format.states == precision.states)
    #expect(geometry.format.master == precision.master)
    #expect((geometry.format.factors != nil) == (precision.optim == "adafactor"))
    #expect(
      geometry.recordBytes < RecordGeometry(parametersPerBlock: geometry.parameters).recordBytes)
    run.config.training.states = "fp32"
    run.config.training.master = precision.states == .fp32 ? "fp32" : precision.master.rawValue
    run.config.training.optim = "adamw"
    #expect(throws: StorageError.self) { _ = try run.session() }
  }

  @Test(arguments: [all[0], Precision(states: .int8, master: .bf16), factored[0]])
  func bytesOfAStepAreThoseOfItsRecords(_ precision: Precision) throws {
    var run = try Self.run(precision)
    run.config.storage.block_bytes = "64MiB"
    // Experts alone are to be counted.
    run.config.memory.dense = "resident"
    run.config.memory.budget = "\(try run.config.leastBudget())"
    let metrics = try run.train(to: 4)
    let record = try run.reader().geometry
    for line in metrics {
      #expect(line.write_bytes == line.experts_touched * record.recordBytes)
      #expect(
        line.read_bytes <= line.experts_touched * (record.recordBytes + record.planeBytes(.hi)))
    }
  }
}
