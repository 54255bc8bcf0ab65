import Base
import Kernels
import Layers
import Models
import Testing

/// A token that finds its expert full passes by the residual alone.
@Test func aFullExpertDropsTokens() {
  let tight = TinyModel(capacityFactor: 0.5)
  tight.forward()
  #expect(tight.model.droppedShare > 0)
  for routing in tight.model.routings {
    for gate in routing.gates {
      let capacity = gate.capacity ?? .max
      for expert in 0..<3 {
        let kept = zip(gate.choice, gate.kept).count { $0 == Int32(expert) && $1 }
        #expect(kept == min(capacity, gate.counts[expert]))
      }
    }
  }
  let loose = TinyModel(capacityFactor: 0.5)
  loose.forward(mode: .generation)
  #expect(loose.model.droppedShare == 0)
}

/// An FFN is a sum over hidden units: cut into slices it gives the same model, up to rounding.
@Test func slicesSumToTheWholeExpert() {
  let (whole, cut) = (TinyModel(), TinyModel(slices: 3))
  #expect(abs(whole.loss() - cut.loss()) < 1e-5)
  let (wholeGradients, cutGradients) = (whole.gradients(), cut.gradients())
  #expect(cutGradients.count == 3 * wholeGradients.count)
  let slots = whole.model.dense.layout.slots
  for slot in slots {
    let (a, b) = (whole.model.dense.gradient(slot).values, cut.model.dense.gradient(slot).values)
    for (x, y) in zip(a, b) { #expect(abs(x - y) < 1e-5, "\(slot.parts[0].name)") }
  }
}

/// Which thread computes what is chance; what is computed is not.
@Test func threadsChangeNoBit() {
  let one = TinyModel(threads: 1)
  let reference = one.gradients()
  for threads in [2, 3] {
    let several = TinyModel(threads: threads)
    #expect(several.gradients() == reference)
    for slot in one.model.dense.layout.slots {
      #expect(several.model.dense.gradient(slot).values == one.model.dense.gradient(slot).values)
    }
  }
}

/// Token by token through the cache, the decoder says what it says about the whole target at once.
@Test func decodingStepByStepEqualsTheWholeForward() {
  let tiny = TinyModel()
  tiny.forward(mode: .generation)
  let whole = tiny.model.nextTokens()
  let (batch, model) = (tiny.batch, tiny.model)

  // One micro-batch of the four sources; the targets enter one position at a time.
  var sources = PackedBatch()
  sources.source.append(tokens: batch.source.tokens, sequences: batch.source.sequences)
  let wide = BatchLimits(microBatches: 1, microBatchRows: 32, sequenceRows: 9, expertRows: 32)
  let stepwise = Transformer(
    model.description, dense: model.dense, limits: wide, smoothing: 0, training: false,
    workers: Workers(count: 1))
  let driver = StepwiseDecoder(model: stepwise, experts: tiny.experts)
  let chosen = driver.choices(sources, targets: batch.target)
  #expect(chosen == whole)
}

/// Feeds given targets through the cache and collects the likeliest token after each.
private struct StepwiseDecoder {
  let model: Transformer
  let experts: [BlockID: FloatBuffer]

  func choices(_ sources: PackedBatch, targets: PackedSide) -> [Int32] {
    let cache = DecodingCache(
      model.description, sentences: targets.sequences.count, positions: 9,
      sourceRows: sources.source.rows)
    model.embed(sources, step: 0, mode: .generation)
    for layer in model.layers(.encoder) {
      model.attendForward(layer)
      passExperts(layer)
    }
    model.startDecoding(cache)
    var chosen = [Int32](repeating: -1, count: targets.rows)
    let longest = targets.sequences.map(\.count).max() ?? 0
    for position in 0..<longest {
      let active = targets.sequences.indices.filter { position < targets.sequences[$0].count }
      let rows = active.map { targets.sequences[$0].lowerBound + position }
      model.embedStep(rows.map { targets.tokens[$0] }, position: position)
      for layer in model.layers(.decoder) {
        model.attendStep(layer, active: active, position: position, cache)
        passExperts(layer)
      }
      for (row, token) in zip(rows, model.nextTokens()) { chosen[row] = token }
    }
    return chosen
  }

  private func passExperts(_ layer: LayerDescription) {
    guard let mixture = layer.mixture else { return }
    model.routeForward(layer)
    for block in model.routings[mixture].blocks {
      guard let weights = experts[.expert(layer: mixture, block.expert)] else {
        preconditionFailure("every block has weights")
      }
      model.expertWeights.matrix(rows: 1, columns: weights.count)
        .copy(from: weights.matrix(rows: 1, columns: weights.count))
      model.expertForward(layer, block)
    }
  }
}
