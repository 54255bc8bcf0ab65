package import Kernels

/// Switch Transformers (Fedus, Zoph and Shazeer 2021, arXiv 2101.03961) as a T5: an encoder-decoder
/// with RMS norms, no biases, attention without scaling and with learned biases by relative
/// position, one table of them a stack; experts behind a top-1 gate whose output is the probability
/// times the expert's, with a fixed capacity for each sequence.
package struct SwitchTransformer: Sendable {
  package var width: Int
  package var heads: Int
  package var headWidth: Int
  package var hidden: Int
  package var encoderLayers: Int
  package var decoderLayers: Int
  /// Layers with experts.
  package var encoderSparse: Set<Int>
  package var decoderSparse: Set<Int>
  package var vocabulary: Int
  package var activation: Activation
  package var epsilon: Float
  package var positionBuckets: Int
  package var positionDistanceMax: Int
  package var gateHasBias: Bool
  /// Whether the output matrix is the embedding.
  package var isTied: Bool
  package var experts: ExpertShape

  package init(
    width: Int, heads: Int, headWidth: Int, hidden: Int, encoderLayers: Int, decoderLayers: Int,
    encoderSparse: Set<Int>, decoderSparse: Set<Int>, vocabulary: Int, activation: Activation,
    epsilon: Float, positionBuckets: Int, positionDistanceMax: Int, gateHasBias: Bool = false,
    isTied: Bool = true, experts: ExpertShape
  ) {
    (self.width, self.heads, self.headWidth, self.hidden) = (width, heads, headWidth, hidden)
    (self.encoderLayers, self.decoderLayers) = (encoderLayers, decoderLayers)
    (self.encoderSparse, self.decoderSparse) = (encoderSparse, decoderSparse)
    (self.vocabulary, self.activation, self.epsilon) = (vocabulary, activation, epsilon)
    self.positionBuckets = positionBuckets
    self.positionDistanceMax = positionDistanceMax
    (self.gateHasBias, self.isTied, self.experts) = (gateHasBias, isTied, experts)
  }

  package func description(_ rule: TopKRule) -> ModelDescription {
    var layout = DenseLayout()
    let table = layout.matrix("shared.weight", vocabulary, width, bound: Float(3).squareRoot())
    var mixtures = 0
    let encoder = stack(.encoder, encoderLayers, encoderSparse, &mixtures, &layout)
    let decoder = stack(.decoder, decoderLayers, decoderSparse, &mixtures, &layout)
    return ModelDescription(
      width: width, vocabulary: vocabulary, experts: experts,
      embedding: EmbeddingDescription(table: table, scale: 1),
      encoder: encoder, decoder: decoder, head: head(table, &layout),
      routing: .topK(rule), layout: layout)
  }

  /// Where the output matrix is the table, what leaves the decoder is scaled down before it meets it.
  private func head(_ table: TensorSlot, _ layout: inout DenseLayout) -> HeadDescription {
    if isTied { return HeadDescription(weight: table, scale: 1 / Float(width).squareRoot()) }
    return HeadDescription(
      weight: layout.matrix(
        "lm_head.weight", vocabulary, width, bound: (3 / Float(width)).squareRoot()))
  }

  private func stack(
    _ side: Side, _ count: Int, _ sparse: Set<Int>, _ mixtures: inout Int,
    _ layout: inout DenseLayout
  ) -> StackDescription {
    let table = layout.matrix(
      "\(side).block.0.layer.0.SelfAttention.relative_attention_bias.weight", positionBuckets,
      heads, bound: (3 / Float(width)).squareRoot())
    let layers = (0..<count).map { index in
      layer(side, index, isMixture: sparse.contains(index), &mixtures, &layout)
    }
    return StackDescription(
      layers: layers, finalNorm: norm("\(side).final_layer_norm", &layout),
      positionBias: PositionBiasDescription(
        table: table, maxDistance: positionDistanceMax, isBidirectional: side == .encoder))
  }

  private func layer(
    _ side: Side, _ index: Int, isMixture: Bool, _ mixtures: inout Int,
    _ layout: inout DenseLayout
  ) -> LayerDescription {
    let name = "\(side).block.\(index).layer"
    let selfAttention = attention("\(name).0", "SelfAttention", isCross: false, &layout)
    let cross =
      side == .decoder ? attention("\(name).1", "EncDecAttention", isCross: true, &layout) : nil
    let place = "\(name).\(side == .decoder ? 2 : 1)"
    let norm = norm("\(place).layer_norm", &layout)
    let feedForward =
      isMixture ? mixture("\(place).mlp", mixtures, &layout) : dense("\(place).mlp", &layout)
    if isMixture { mixtures += 1 }
    return LayerDescription(
      side: side, index: index, selfAttention: selfAttention, crossAttention: cross,
      feedForwardNorm: norm, feedForward: feedForward)
  }

  private func attention(
    _ place: String, _ name: String, isCross: Bool, _ layout: inout DenseLayout
  ) -> AttentionDescription {
    let inner = heads * headWidth
    func stacked(_ letters: [String]) -> TensorSlot {
      layout.stacked(
        letters.map { ("\(place).\(name).\($0).weight", inner) }, width,
        bound: (3 / Float(width)).squareRoot())
    }
    let norm = norm("\(place).layer_norm", &layout)
    let input = stacked(isCross ? ["q"] : ["q", "k", "v"])
    let memory = isCross ? Projection(weight: stacked(["k", "v"])) : nil
    let output = layout.matrix(
      "\(place).\(name).o.weight", width, inner, bound: (3 / Float(inner)).squareRoot())
    return AttentionDescription(
      norm: norm, shape: AttentionShape(heads: heads, headWidth: headWidth, scale: 1),
      input: Projection(weight: input), memory: memory, output: Projection(weight: output))
  }

  private func norm(_ name: String, _ layout: inout DenseLayout) -> NormDescription {
    NormDescription(.rms, epsilon: epsilon, gain: layout.gain("\(name).weight", width))
  }

  private func dense(_ name: String, _ layout: inout DenseLayout) -> FeedForwardDescription {
    let first = layout.matrix("\(name).wi.weight", hidden, width)
    let second = layout.matrix("\(name).wo.weight", hidden, width, isTransposed: true)
    return .dense(.init(activation, first: first, second: second))
  }

  private func mixture(
    _ name: String, _ number: Int, _ layout: inout DenseLayout
  ) -> FeedForwardDescription {
    let gate = layout.matrix("\(name).router.classifier.weight", experts.count, width)
    let bias =
      gateHasBias ? layout.vector([("\(name).router.classifier.bias", experts.count)]) : nil
    let names = (0..<experts.count).map {
      ExpertNames(
        first: "\(name).experts.expert_\($0).wi.weight",
        second: "\(name).experts.expert_\($0).wo.weight")
    }
    return .mixture(.init(number: number, gate: Projection(weight: gate, bias: bias), names: names))
  }
}
