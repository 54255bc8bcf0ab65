import Base
import DirectIO
package import Kernels
package import Models
package import Optimizers
import Paging
import Storage

/// A published model, read from its folder into a new store and trained on batches that the caller
/// brings: the sweeps of `TrainingStep` without a corpus and without a run.
package struct CheckpointSession: ~Copyable {
  /// How many blocks are in memory.
  package enum Frames: Sendable {
    case all
    /// The fewest that paging can do with.
    case fewest
  }

  package struct Options: Sendable {
    package var frames = Frames.all
    package var optimizer = AdamW()
    package var learningRate = 1e-3
    /// Whether weight decay applies to gains and biases, too.
    package var decaysVectors = false
    package var clip = StepOptions.Clip.none
    package var untouched = StepOptions.Untouched.skip
    package var threads = 1

    package init() {}
  }

  var step: TrainingStep
  private var done = 0

  /// Makes a store in `path` and fills it with the weights of the checkpoint; all moments are zero.
  /// - Parameter limits: what the largest batch needs.
  /// - Throws: `InterchangeError`, `ExchangeError`, `StorageError`.
  package init(
    _ published: PublishedModel, _ description: ModelDescription, limits: BatchLimits,
    store path: String, _ options: Options
  ) throws {
    try CheckpointTensors.requireGeometry(published, followsLinks: false)
    let checkpoint = try CheckpointTensors(
      published, ModelTensors(description), followsLinks: false)
    let record = RecordGeometry(parametersPerBlock: description.experts.parametersPerBlock)
    let blocks = DenseBlocks(record: record, layout: description.layout)
    let count = description.expertBlocks + blocks.count
    let store = try Store.open(
      StoreConfiguration(
        paths: [path], identity: "checkpoint \(published.folder)", geometry: record,
        blocks: count),
      disk: openDisk().disk, create: true)
    let frames = options.frames == .all ? count : min(count, 4)
    let budget = FrameBudget(weights: frames, state: frames)
    let ledger = MemoryLedger(ceiling: .max)
    let dense = DenseParameters(description.layout, count: blocks.paddedCount, training: true)
    let model = Transformer(
      description, dense: dense, limits: limits, smoothing: 0, training: true,
      workers: Workers(count: options.threads))
    var pager = try Pager(store: store, frames: budget, ledger: ledger)
    pager.computeChecksums(on: model.workers)
    var step = TrainingStep(
      pager: pager, model: model,
      optimizer: .adamW(options.optimizer),
      schedule: LearningRateSchedule(
        .constant, peak: options.learningRate, warmupSteps: 0, totalSteps: 1, minimumRatio: 0),
      options: StepOptions(
        microBatches: limits.microBatches, precision: .fp32, clip: options.clip,
        untouched: options.untouched, decaysVectors: options.decaysVectors),
      dense: DenseResidency(dense, description, blocks, isPaged: false),
      unsaved: UnsavedDense(blocks))
    try Self.fill(&step, description, from: checkpoint)
    self.step = step
  }

  private static func fill(
    _ step: inout TrainingStep, _ description: ModelDescription, from checkpoint: CheckpointTensors
  ) throws {
    let source = TensorSource(
      [ParameterState.weights.stem: checkpoint.folder], renamed: checkpoint.renamed,
      description.experts)
    for part in ModelTensors(description).parts {
      switch part {
      case .dense(let tensor):
        let weights = step.model.dense.weights
        try source.read(tensor, .weights, 0..<weights.count, into: weights)
      case .expert(let expert):
        for slice in 0..<description.experts.slices {
          let block = BlockID.expert(layer: expert.layer, expert.expert, slice: slice)
          var page = try step.pager.blank(block)
          // As long as nothing is trained it is free.
          let floats = step.model.expertGradients
          try source.read(expert, slice: slice, .weights, into: floats)
          page.set(.weights, to: floats)
          page.clearMoments()
          step.pager.writeBack(page, history: BlockHistory())
        }
      }
    }
  }

  /// Runs the next step on a global batch.
  /// - Returns: the loss of the batch before it, with what the gates add.
  package mutating func runStep(_ batch: PackedBatch) throws -> Double {
    done += 1
    let metrics = try step.run(step: done, batch)
    return metrics.loss + step.model.routerLoss
  }

  /// A forward sweep: the logits of every target row, and the loss with what the gates add.
  package mutating func forward(
    _ batch: PackedBatch, mode: Transformer.Mode
  ) throws -> (logits: Matrix, loss: Double) {
    try step.forward(batch, step: done, mode: mode)
    let model = step.model
    let sum = model.smoothedLosses().reduce(0.0) { $0 + Double($1) }
    return (model.logits(), sum / Double(batch.labelCount) + model.routerLoss)
  }

  /// The norm of the gradient of each tensor of the checkpoint, of a training batch; 0 for experts
  /// without tokens. Changes no weight.
  package mutating func gradientNorms(_ batch: PackedBatch) throws -> [String: Double] {
    try step.forward(batch, step: done, mode: .training)
    let (description, dense) = (step.model.description, step.model.dense)
    let tensors = ModelTensors(description)
    let names = tensors.expertNames
    var squares: [String: Double] = [:]
    try step.gradients(step: done + 1) { block, gradient in
      guard let expert = names[.expert(layer: block.layer, block.index)] else {
        preconditionFailure("every expert has names")
      }
      for (name, part) in description.experts.parts(of: gradient, expert) {
        squares[name, default: 0] += sumOfSquares(part)
      }
    }
    for part in tensors.parts {
      switch part {
      case .dense(let tensor):
        squares[tensor.name] = sumOfSquares(
          dense.gradients.matrix(
            rows: tensor.rows, columns: tensor.columns, offset: tensor.range.lowerBound))
      case .expert(let expert):
        for name in expert.names.all { squares[name, default: 0] += 0 }
      }
    }
    dense.clearGradients(on: .inline)
    return squares.mapValues { $0.squareRoot() }
  }
}
