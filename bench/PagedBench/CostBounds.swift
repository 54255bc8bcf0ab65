import Base
import BenchHarness
import Foundation
import Kernels
import Layers
import Models
import Planning
import Training

/// Compares runs with the cost model, fed with what is measured here: the drive, with requests that
/// rotate through as much memory as the pool has, and the products of an expert.
struct CostBounds {
  private let needs: RunNeeds
  private let scratch: String
  private let seconds: Double

  /// - Parameters:
  ///   - scratch: a directory on the drive.
  ///   - seconds: of measuring it, for each pool.
  init(_ needs: RunNeeds, scratch: String, seconds: Double) {
    (self.needs, self.scratch, self.seconds) = (needs, scratch, seconds)
  }

  /// Of the drive, bytes per second; `mixed` of half reads and half writes together.
  struct DriveRates {
    let read: Double
    let write: Double
    let mixed: Double
  }

  /// Measures records at random places of a scratch file beside the stores.
  func rates(poolBytes: Int) throws -> DriveRates {
    let scratch = try ScratchDirectory(in: scratch)
    defer { extendLifetime(scratch) }
    var benchmark = SwapBenchmark(directories: [scratch.path])
    benchmark.layouts = .records
    benchmark.recordBytes = roundUp(needs.recordBytes, to: benchmark.requestBytes)
    benchmark.fileBytes = max(4 * benchmark.recordBytes, min(needs.stateBytes, 1 << 30))
    benchmark.footprintBytes = min(poolBytes, benchmark.fileBytes)
    benchmark.seconds = seconds
    let jobs = try benchmark.run().jobs
    func rate(_ share: Double) -> Double {
      1e9 * (jobs.first { $0.writeShare == share }?.rate.median ?? 0)
    }
    return DriveRates(read: rate(0), write: rate(1), mixed: rate(0.5))
  }

  /// What the model says of a run under these rates, by name; `residentRate` is the resident run's, in
  /// tokens per second.
  ///
  /// The bound takes the resident step for the arithmetic, all of it, and adds reads and writes, as
  /// drives are not assumed to do both at full rate; `mixed_bound` takes the rate of the mix.
  func compare(
    _ run: MeasuredRun, _ rates: DriveRates, residentRate: Double
  ) -> [String: Double] {
    let parameters = needs.experts.parametersPerBlock
    let flops = arithmeticRate(
      rows: max(1, Int(run.tokensPerExpert.rounded())), keepsUnits: run.keptLayersShare > 0.5)
    let model = CostModel(
      readRate: rates.read, writeRate: rates.write, arithmeticRate: flops, updateRate: 1e9)
    let hiding = model.hidingTokens(
      BlockBytes(parameters: parameters, needs.layout), parameters: parameters)
    // What was read in vain is no part of the bound.
    let needed = run.readBytesPerStep - run.unusedBytesPerStep
    let drive = needed / rates.read + run.writtenBytesPerStep / rates.write
    let mixed = (needed + run.writtenBytesPerStep) / rates.mixed
    let tokens = Double(run.sum(\.tokens)) / Double(run.timed.count)
    let residentStep = tokens / residentRate
    let bound = tokens / max(residentStep, drive)
    return [
      "drive_read_gbps": rates.read / 1e9, "drive_write_gbps": rates.write / 1e9,
      "drive_mixed_gbps": rates.mixed / 1e9, "expert_gflops": flops / 1e9,
      "hiding_tokens": hiding, "tokens_to_hiding": run.tokensPerExpert / hiding,
      "drive_s": drive, "bound_tokens_per_s": bound,
      "ratio_to_bound": run.tokensPerSecond / bound,
      "ratio_to_mixed_bound": run.tokensPerSecond / (tokens / max(residentStep, mixed)),
    ]
  }

  /// Floating-point operations per second of a block forward and backward, for so many rows, by as many
  /// threads as the run has; 8 are counted for each parameter and row, also where fewer are done.
  /// - Parameter keepsUnits: the hidden units are kept, not computed again.
  private func arithmeticRate(rows: Int, keepsUnits: Bool) -> Double {
    let shape = needs.experts
    let workers = Workers(count: needs.threads)
    func matrix(_ columns: Int) -> Matrix { Matrix(rows: rows, columns: columns) }
    let gradients = FloatBuffer(count: shape.parametersPerBlock)
    let (units, third) = (shape.sliceHidden, shape.isGated ? 2 : nil)
    let layer = ExpertWeights(shape).layer(slice: 0)
    let (h, y, dy, dh) = (
      matrix(shape.width), matrix(shape.width), matrix(shape.width), matrix(shape.width)
    )
    func spaced() -> Matrix { Matrix(spacedRows: rows, columns: units) }
    let (hidden, up, dhidden) = (spaced(), third.map { _ in spaced() }, spaced())
    let tape =
      keepsUnits
      ? FeedForward.Tape(hidden: matrix(units), up: third.map { _ in matrix(units) }) : nil
    h.fill(0.5)
    dy.fill(0.5)
    let into = FeedForward.Gradients(
      dh: dh, dw1: shape.matrix(0, of: gradients), dw2: shape.matrix(1, of: gradients),
      dw3: third.map { shape.matrix($0, of: gradients) }, db1: shape.firstBias(of: gradients),
      db2: shape.secondBias(of: gradients), accumulateInput: false, accumulateWeights: false)
    let times = (0..<7).map { _ in
      BenchHarness.seconds {
        layer.forward(
          h, hidden: hidden, up: up, keeping: tape, into: y, accumulate: false, on: workers)
        layer.backward(
          h, dy: dy, combine: nil, hidden: hidden, up: up, dhidden: dhidden, from: tape,
          into: into, on: workers)
      }
    }
    return 8 * Double(rows) * Double(shape.matrixParameters) / median(times)
  }
}
