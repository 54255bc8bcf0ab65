import Base
import Foundation
import Interchange
import Kernels
import Models
import Optimizers
import Training

/// One folder, compared case by case.
package struct Comparison {
  private let golden: Golden
  private let configuration: ModelConfiguration
  private let description: ModelDescription
  private let model: PublishedModel

  /// - Throws: `InterchangeError`, `GoldenError`.
  package init(_ golden: Golden, slices: Int = 1) throws {
    self.golden = golden
    let path = golden.folder + "/config.json"
    configuration = try ModelConfiguration(path)
    description = try ModelDescription(
      configuration, path: path, hasRouterLosses: golden.hasRouterLosses,
      sliced: { $0.cut(into: slices) })
    model = try PublishedModel(folder: golden.folder)
  }

  package func run() throws -> GoldenReport {
    var report = GoldenReport(folder: golden.folder, family: configuration.type.rawValue)
    for kind in golden.kinds {
      let resident = try differences(kind, .all)
      let paged = try differences(kind, .fewest)
      report.resident[kind.rawValue] = resident.found
      report.paged[kind.rawValue] = paged.found
      report.judge(resident.found, "resident, \(kind.rawValue):")
      report.judge(paged.found, "paged, \(kind.rawValue):")
      if resident.bits != paged.bits { report.same_bits = false }
    }
    return report
  }

  private typealias Found = (found: GoldenReport.Differences, bits: [UInt64])

  private func differences(_ kind: Golden.Case, _ frames: CheckpointSession.Frames) throws -> Found
  {
    let batch = try golden.batch(kind, configuration)
    var (found, bits) = (GoldenReport.Differences(), [UInt64]())
    try withSession(batch, frames) { session in
      for mode in [Transformer.Mode.evaluation, .training] {
        try compareForward(&session, batch, kind, mode, &found, &bits)
      }
      try compareGradients(&session, batch, kind, &found, &bits)
    }
    for convention in golden.adamConventions(kind) {
      try compareSteps(convention, batch, kind, frames, &found, &bits)
    }
    return (found, bits)
  }

  private func compareForward(
    _ session: inout CheckpointSession, _ batch: PackedBatch, _ kind: Golden.Case,
    _ mode: Transformer.Mode, _ found: inout GoldenReport.Differences, _ bits: inout [UInt64]
  ) throws {
    let name = mode == .training ? "train" : "eval"
    guard let loss = golden.loss(kind, name) else { return }
    let ours = try session.forward(batch, mode: mode)
    let logits = ours.logits.values
    bits += logits.map { UInt64($0.bitPattern) } + [ours.loss.bitPattern]
    let worst = try golden.logits(kind, name).map { wanted in
      guard wanted.count == logits.count else {
        throw GoldenError(path: golden.folder, cause: "has logits of another shape")
      }
      return largest(zip(logits, wanted).map { Double(abs($0 - $1)) })
    }
    let off = abs(ours.loss - loss)
    if mode == .training {
      (found.train_logits, found.train_loss) = (worst, off)
    } else {
      (found.eval_logits, found.eval_loss) = (worst, off)
    }
  }

  private func compareGradients(
    _ session: inout CheckpointSession, _ batch: PackedBatch, _ kind: Golden.Case,
    _ found: inout GoldenReport.Differences, _ bits: inout [UInt64]
  ) throws {
    let wanted = golden.gradientNorms(kind)
    guard !wanted.isEmpty else { return }
    let ours = try session.gradientNorms(batch)
    bits += ours.sorted { $0.key < $1.key }.map(\.value.bitPattern)
    found.gradient_norms = 0
    let floor = Self.smallNorm * (wanted.values.compactMap { $0 }.max() ?? 0)
    for name in Set(ours.keys).union(wanted.keys).sorted() {
      let off = Self.relative(ours[name], wanted[name].map { $0 ?? 0 }, floor: floor)
      if !(off <= found.gradient_norms ?? 0) {
        (found.gradient_norms, found.worst_gradient) = (off, name)
      }
    }
  }

  /// Of the largest norm. Differences of smaller ones are relative to that: a gradient that is zero
  /// by symmetry, such as that of a bias of keys, is nothing but rounding, and what is allowed of it
  /// is a float's rounding of the largest.
  private static let smallNorm = 1e-3

  /// A tensor that only one side has is infinitely wrong.
  private static func relative(_ ours: Double?, _ theirs: Double?, floor: Double) -> Double {
    guard let ours, let theirs else { return .infinity }
    return ours == theirs ? 0 : abs(ours - theirs) / max(theirs, floor)
  }

  /// The losses before each of three steps, and after the last.
  private func compareSteps(
    _ convention: String, _ batch: PackedBatch, _ kind: Golden.Case,
    _ frames: CheckpointSession.Frames, _ found: inout GoldenReport.Differences,
    _ bits: inout [UInt64]
  ) throws {
    guard let wanted = golden.adamLosses(kind, convention), let last = wanted.indices.last else {
      return
    }
    try withSession(batch, frames, convention) { session in
      var losses = try (0..<last).map { _ in try session.runStep(batch) }
      losses.append(try session.forward(batch, mode: .training).loss)
      bits += losses.map(\.bitPattern)
      found.adamw_losses = found.adamw_losses ?? [:]
      found.adamw_losses?[convention] = largest(zip(losses, wanted).map { abs($0 - $1) })
    }
  }

  /// NaN when any of `values` is.
  private func largest(_ values: [Double]) -> Double {
    values.contains(where: \.isNaN) ? .nan : values.max() ?? 0
  }

  /// A session with the optimizer of the goldens, by a convention: `skip_missing` leaves experts
  /// without tokens alone, unless the family has gradients of zero for them; `clip1_nodecay1d` clips
  /// to a global norm of 1 and lets only matrices decay.
  private func withSession(
    _ batch: PackedBatch, _ frames: CheckpointSession.Frames, _ convention: String = "",
    _ body: (inout CheckpointSession) throws -> Void
  ) throws {
    var options = CheckpointSession.Options()
    options.frames = frames
    options.optimizer = AdamW(beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1)
    options.learningRate = 3e-3
    options.untouched =
      convention.hasPrefix("zero") ? .decay : PublishedFamily(configuration.type).untouched
    options.clip = convention.contains("clip1") ? .global(1) : .none
    options.decaysVectors = !convention.contains("nodecay1d")
    let directory = FileManager.default.temporaryDirectory
      .appendingPathComponent("pagoda-golden-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: directory) }
    var session = try CheckpointSession(
      model, description, limits: golden.limits(batch), store: directory, options)
    try body(&session)
  }
}
