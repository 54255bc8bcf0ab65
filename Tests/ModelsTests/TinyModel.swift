import Base
import Kernels
import Layers
import Models

/// A model small enough to differentiate by hand, with its experts in memory.
struct TinyModel {
  let model: Transformer
  /// Weights by block, as `ExpertShape` lays them out.
  var experts: [BlockID: FloatBuffer] = [:]
  let batch: PackedBatch
  private let kept = KeptBoundaries()

  /// Z-code, with two layers a side.
  init(
    slices: Int = 1, experts count: Int = 3, jitter: Float = 0, smoothing: Float = 0.1,
    capacityFactor: Double = 1.0, threads: Int = 1, rule given: RoutingRule? = nil,
    gates: (encoder: Zcode.GateKind, decoder: Zcode.GateKind) = (.token, .token)
  ) {
    var rule = TopOneRule()
    rule.capacityFactor = capacityFactor
    rule.minCapacity = 1
    rule.jitter = jitter
    rule.auxLossCoefficient = 0.5
    rule.seed = 5
    var zcode = Zcode(
      width: 8, heads: 2, hidden: 12, encoderLayers: 2, decoderLayers: 2, sparseStep: 2,
      vocabulary: 13, experts: ExpertShape(count: count, width: 8, hidden: 12, slices: slices))
    zcode.languages = Self.languages
    zcode.gates = gates
    self.init(
      zcode.description(given ?? .topOne(rule)), smoothing: smoothing, threads: threads)
  }

  init(
    _ description: ModelDescription, smoothing: Float, threads: Int = 1, seed: UInt64 = 3,
    boundaries: BoundaryRule = BoundaryRule()
  ) {
    let dense = DenseParameters(description.layout, count: description.layout.count, training: true)
    dense.initialise(seed: seed)
    let limits = BatchLimits(microBatches: 2, microBatchRows: 16, sequenceRows: 9, expertRows: 16)
    model = Transformer(
      description, dense: dense, limits: limits, smoothing: smoothing, training: true,
      boundaries: boundaries, workers: Workers(count: threads))
    batch = Self.batch(vocabulary: description.vocabulary, hasSource: description.encoder != nil)
    let shape = description.experts
    for mixture in 0..<description.mixtures {
      for expert in 0..<shape.count {
        for slice in 0..<shape.slices {
          let block = BlockID.expert(layer: mixture, expert, slice: slice)
          experts[block] = Self.weights(shape, mixture, expert, slice)
        }
      }
    }
  }

  /// With the initial weights of a description and no experts yet, for one micro-batch.
  init(_ description: ModelDescription, batch: PackedBatch) {
    let dense = DenseParameters(description.layout, count: description.layout.count, training: true)
    let rows = max(batch.source.rows, batch.target.rows)
    let longest = (batch.source.sequences + batch.target.sequences).map(\.count).max() ?? 1
    model = Transformer(
      description, dense: dense,
      limits: BatchLimits(
        microBatches: 1, microBatchRows: rows, sequenceRows: longest, expertRows: rows),
      smoothing: 0, training: true, workers: Workers(count: 1))
    self.batch = batch
  }

  /// The same expert whatever the number of slices: hidden unit h has the weights of unit h.
  private static func weights(
    _ shape: ExpertShape, _ mixture: Int, _ expert: Int, _ slice: Int
  ) -> FloatBuffer {
    let whole = Matrix(rows: shape.matrices * shape.hidden, columns: shape.width)
    UniformFill(seed: 9, block: .expert(layer: mixture, expert), bound: shape.bound)
      .fill(whole, first: 0)
    let buffer = FloatBuffer(count: shape.parametersPerBlock)
    for part in 0..<shape.matrices {
      let first = part * shape.hidden + slice * shape.sliceHidden
      shape.matrix(part, of: buffer).copy(from: whole.rows(first..<first + shape.sliceHidden))
    }
    return buffer
  }

  /// Of the tasks of the batch: the first occurs in both micro-batches, the second has its target.
  static let languages = 3
  static let tasks = [
    [SequenceTask(source: 0, target: 1), SequenceTask(source: 2, target: 1)],
    [SequenceTask(source: 1, target: 2), SequenceTask(source: 0, target: 1)],
  ]

  static let sourceLengths = [[5, 7], [3, 9]]
  static let targetLengths = [[6, 4], [8, 2]]

  /// Two micro-batches of two ragged sequences each.
  private static func batch(vocabulary: Int, hasSource: Bool) -> PackedBatch {
    let random = Philox(seed: 21, purpose: .test)
    var counter: UInt32 = 0
    func tokens(_ count: Int) -> [Int32] {
      (0..<count).map { _ in
        counter += 1
        return Int32(3 + random.below(vocabulary - 3, counter, 0, 0))
      }
    }
    var batch = PackedBatch()
    for ((sources, targets), tasks) in zip(zip(sourceLengths, targetLengths), tasks) {
      if hasSource {
        batch.source.append(
          tokens: tokens(sources.reduce(0, +)), sequences: ranges(sources), tasks: tasks)
      }
      batch.target.append(
        tokens: tokens(targets.reduce(0, +)), sequences: ranges(targets), tasks: tasks)
      batch.labels += tokens(targets.reduce(0, +))
    }
    return batch
  }

  private static func ranges(_ counts: [Int]) -> [Range<Int>] {
    var start = 0
    return counts.map { count in
      defer { start += count }
      return start..<start + count
    }
  }

  // MARK: Sweeps

  func forward(mode: Transformer.Mode = .training) {
    model.embed(batch, step: 4, mode: mode)
    for layer in model.layers(.encoder) { forward(layer) }
    model.encoderToDecoder()
    for layer in model.layers(.decoder) { forward(layer) }
  }

  private func forward(_ layer: LayerDescription) {
    defer { kept.keep(layer, model) }
    model.attendForward(layer)
    guard let mixture = layer.mixture else { return }
    model.routeForward(layer)
    for block in model.routings[mixture].blocks {
      load(mixture, block)
      model.expertForward(layer, block)
    }
  }

  /// Forward and backward; the gradient of every touched block, and of the dense part in `dense`.
  func gradients() -> [BlockID: [Float]] {
    forward()
    return backward()
  }

  /// One more backward sweep after the same forward sweep.
  func backward() -> [BlockID: [Float]] {
    model.dense.clearGradients(on: .inline)
    _ = model.lossForwardBackward()
    var gradients: [BlockID: [Float]] = [:]
    for layer in model.layers(.decoder).reversed() { backward(layer, &gradients) }
    model.decoderToEncoder()
    for layer in model.layers(.encoder).reversed() { backward(layer, &gradients) }
    model.embedBackward(.encoder)
    return gradients
  }

  private func backward(_ layer: LayerDescription, _ gradients: inout [BlockID: [Float]]) {
    kept.restore(layer, model)
    if let mixture = layer.mixture {
      model.routeRecompute(layer)
      for block in model.routings[mixture].blocks.reversed() {
        load(mixture, block)
        model.expertBackward(layer, block)
        let values = model.expertGradients.matrix(rows: 1, columns: model.expertGradients.count)
        gradients[.expert(layer: mixture, block.expert, slice: block.slice)] = values.values
      }
      model.routeBackward(layer)
    }
    model.attendBackward(layer)
  }

  private func load(_ mixture: Int, _ block: LayerRouting.Block) {
    guard let weights = experts[.expert(layer: mixture, block.expert, slice: block.slice)] else {
      preconditionFailure("every block has weights")
    }
    model.expertWeights.fill(from: weights)
  }

  /// What the gradients are the gradients of: smoothed cross-entropy plus the balance loss.
  func loss(mode: Transformer.Mode = .training) -> Double {
    forward(mode: mode)
    let rows = model.smoothedLosses()
    let mean = rows.reduce(0.0) { $0 + Double($1) } / Double(batch.labelCount)
    return mean + model.routerLoss
  }
}

/// What a model with a window does not keep of a forward sweep.
private final class KeptBoundaries {
  private var values: [Int: [Float]] = [:]

  func keep(_ layer: LayerDescription, _ model: Transformer) {
    guard model.boundaryRule.isWindow else { return }
    for (index, x) in model.inputs(of: layer).enumerated() {
      values[model.firstInput(of: layer) + index] = x.values
    }
  }

  func restore(_ layer: LayerDescription, _ model: Transformer) {
    guard model.boundaryRule.isWindow else { return }
    for (index, x) in model.inputs(of: layer).enumerated() {
      guard let values = values[model.firstInput(of: layer) + index] else {
        preconditionFailure("every boundary was kept")
      }
      x.assign(values)
    }
  }
}

extension ExpertWeights {
  /// Takes over a block as `ExpertShape` lays it out.
  func fill(from block: FloatBuffer) {
    for i in 0..<floats.matrix.rows {
      floats.matrix.rows(i..<i + 1).copy(
        from: block.matrix(rows: 1, columns: shape.width, offset: i * shape.width))
    }
    floats.rest.copy(
      from: block.matrix(rows: 1, columns: floats.rest.columns, offset: shape.matrixParameters))
  }
}
