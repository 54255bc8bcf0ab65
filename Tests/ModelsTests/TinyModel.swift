import Base
import Kernels
import Layers
import Models

/// A model small enough to differentiate by hand, with its experts in memory.
struct TinyModel {
  let model: ZcodeModel
  /// Weights by block, in the order W1, W2 transposed.
  var experts: [BlockID: FloatBuffer] = [:]
  let batch: PackedBatch

  init(
    slices: Int = 1, experts count: Int = 3, jitter: Float = 0, smoothing: Float = 0.1,
    capacityFactor: Double = 1.0, threads: Int = 1
  ) {
    let shape = ZcodeShape(
      width: 8, heads: 2, hidden: 12, encoderLayers: 2, decoderLayers: 2, experts: count,
      sparseStep: 2, vocabulary: 13, slices: slices)
    var options = ZcodeOptions()
    options.capacityFactor = capacityFactor
    options.minCapacity = 1
    options.jitter = jitter
    options.auxLossCoefficient = 0.5
    options.labelSmoothing = smoothing
    options.seed = 5
    let description = ZcodeDescription(shape)
    let dense = DenseParameters(description.layout, count: description.layout.count, training: true)
    dense.initialise(seed: 3)
    let limits = BatchLimits(microBatches: 2, microBatchRows: 16, sequenceRows: 9, expertRows: 16)
    model = ZcodeModel(
      description, dense: dense, limits: limits, options: options, training: true,
      workers: Workers(count: threads))
    batch = Self.batch(vocabulary: 13)
    for mixture in 0..<shape.mixtures {
      for expert in 0..<shape.experts {
        for slice in 0..<slices {
          let block = BlockID.expert(layer: mixture, expert, slice: slice)
          experts[block] = Self.weights(shape, mixture, expert, slice)
        }
      }
    }
  }

  /// The same expert whatever the number of slices: hidden unit h has the weights of unit h.
  private static func weights(
    _ shape: ZcodeShape, _ mixture: Int, _ expert: Int, _ slice: Int
  ) -> FloatBuffer {
    let whole = Matrix(rows: 2 * shape.hidden, columns: shape.width)
    UniformFill(seed: 9, block: .expert(layer: mixture, expert), bound: shape.expertBound)
      .fill(whole, first: 0)
    let buffer = FloatBuffer(count: shape.parametersPerBlock)
    for part in 0..<2 {
      let first = part * shape.hidden + slice * shape.sliceHidden
      buffer.matrix(
        rows: shape.sliceHidden, columns: shape.width,
        offset: part * shape.sliceHidden * shape.width
      ).copy(from: whole.rows(first..<first + shape.sliceHidden))
    }
    return buffer
  }

  /// Two micro-batches of two ragged sequences each.
  private static func batch(vocabulary: Int) -> PackedBatch {
    let random = Philox(seed: 21, purpose: .test)
    var counter: UInt32 = 0
    func tokens(_ count: Int) -> [Int32] {
      (0..<count).map { _ in
        counter += 1
        return Int32(3 + random.below(vocabulary - 3, counter, 0, 0))
      }
    }
    var batch = PackedBatch()
    for (sources, targets) in [([5, 7], [6, 4]), ([3, 9], [8, 2])] {
      batch.source.append(tokens: tokens(sources.reduce(0, +)), sequences: ranges(sources))
      batch.target.append(tokens: tokens(targets.reduce(0, +)), sequences: ranges(targets))
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

  func forward(mode: ZcodeModel.Mode = .training) {
    model.embed(batch, step: 4, mode: mode)
    for layer in model.description.encoder { forward(layer) }
    model.encoderToDecoder()
    for layer in model.description.decoder { forward(layer) }
  }

  private func forward(_ layer: ZcodeLayer) {
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
    model.dense.clearGradients()
    forward()
    _ = model.lossForwardBackward()
    var gradients: [BlockID: [Float]] = [:]
    for layer in model.description.decoder.reversed() { backward(layer, &gradients) }
    model.decoderToEncoder()
    for layer in model.description.encoder.reversed() { backward(layer, &gradients) }
    model.embedBackward(.encoder)
    return gradients
  }

  private func backward(_ layer: ZcodeLayer, _ gradients: inout [BlockID: [Float]]) {
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
    model.expertWeights.matrix(rows: 1, columns: weights.count)
      .copy(from: weights.matrix(rows: 1, columns: weights.count))
  }

  /// What the gradients are the gradients of: smoothed cross-entropy plus the balance loss.
  func loss() -> Double {
    forward()
    let rows = model.smoothedLosses()
    let mean = rows.reduce(0.0) { $0 + Double($1) } / Double(rows.count)
    return mean + Double(model.options.auxLossCoefficient) * model.auxLoss
  }
}
