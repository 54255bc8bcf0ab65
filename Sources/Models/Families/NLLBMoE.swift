package import Kernels

/// NLLB-MoE (NLLB team 2022, arXiv 2207.04672): M2M-100 with experts. An encoder-decoder with layer
/// norms and biases everywhere, sinusoidal positions, embeddings times sqrt(width), experts behind a
/// top-2 gate whose second choices queue behind all first ones.
package struct NLLBMoE: Sendable {
  package var width: Int
  package var encoderHeads: Int
  package var decoderHeads: Int
  package var encoderHidden: Int
  package var decoderHidden: Int
  package var encoderLayers: Int
  package var decoderLayers: Int
  /// Layers with experts.
  package var encoderSparse: Set<Int>
  package var decoderSparse: Set<Int>
  package var vocabulary: Int
  package var activation: Activation
  package var scalesEmbedding: Bool
  package var gateHasBias: Bool
  /// The token that pads: it has no position, and the first position is the number after it.
  package var padding: Int
  /// Whether the output matrix is the embedding.
  package var isTied: Bool
  package var experts: ExpertShape

  package init(
    width: Int, encoderHeads: Int, decoderHeads: Int, encoderHidden: Int, decoderHidden: Int,
    encoderLayers: Int, decoderLayers: Int, encoderSparse: Set<Int>, decoderSparse: Set<Int>,
    vocabulary: Int, activation: Activation, scalesEmbedding: Bool, gateHasBias: Bool,
    padding: Int, isTied: Bool = true, experts: ExpertShape
  ) {
    (self.width, self.vocabulary, self.activation) = (width, vocabulary, activation)
    (self.encoderHeads, self.decoderHeads) = (encoderHeads, decoderHeads)
    (self.encoderHidden, self.decoderHidden) = (encoderHidden, decoderHidden)
    (self.encoderLayers, self.decoderLayers) = (encoderLayers, decoderLayers)
    (self.encoderSparse, self.decoderSparse) = (encoderSparse, decoderSparse)
    (self.scalesEmbedding, self.gateHasBias) = (scalesEmbedding, gateHasBias)
    (self.padding, self.isTied, self.experts) = (padding, isTied, experts)
  }

  package func description(_ rule: TopKRule) -> ModelDescription {
    var layout = DenseLayout()
    let table = layout.matrix(
      "model.shared.weight", vocabulary, width, bound: (3 / Float(width)).squareRoot())
    var mixtures = 0
    let encoder = stack(.encoder, encoderLayers, encoderSparse, &mixtures, &layout)
    let decoder = stack(.decoder, decoderLayers, decoderSparse, &mixtures, &layout)
    let head =
      isTied
      ? table
      : layout.matrix("lm_head.weight", vocabulary, width, bound: (3 / Float(width)).squareRoot())
    return ModelDescription(
      width: width, vocabulary: vocabulary, experts: experts,
      embedding: EmbeddingDescription(
        table: table, scale: scalesEmbedding ? Float(width).squareRoot() : 1,
        firstPosition: padding + 1, padding: Int32(padding), untrained: Int32(padding)),
      encoder: encoder, decoder: decoder, head: HeadDescription(weight: head),
      routing: .topK(rule), layout: layout)
  }

  private func stack(
    _ side: Side, _ count: Int, _ sparse: Set<Int>, _ mixtures: inout Int,
    _ layout: inout DenseLayout
  ) -> StackDescription {
    let layers = (0..<count).map { index in
      layer(side, index, isMixture: sparse.contains(index), &mixtures, &layout)
    }
    return StackDescription(layers: layers, finalNorm: norm("model.\(side).layer_norm", &layout))
  }

  private func layer(
    _ side: Side, _ index: Int, isMixture: Bool, _ mixtures: inout Int,
    _ layout: inout DenseLayout
  ) -> LayerDescription {
    let name = "model.\(side).layers.\(index)"
    let selfAttention = attention(side, name, "self_attn", isCross: false, &layout)
    let cross =
      side == .decoder
      ? attention(side, name, "cross_attention", isCross: true, &layout) : nil
    let norm = norm("\(name).ff_layer_norm", &layout)
    let feedForward =
      isMixture
      ? mixture("\(name).ffn", mixtures, hidden(side), &layout)
      : dense("\(name).ffn", hidden(side), &layout)
    if isMixture { mixtures += 1 }
    return LayerDescription(
      side: side, index: index, selfAttention: selfAttention, crossAttention: cross,
      feedForwardNorm: norm, feedForward: feedForward)
  }

  private func hidden(_ side: Side) -> Int { side == .encoder ? encoderHidden : decoderHidden }

  private func attention(
    _ side: Side, _ layer: String, _ name: String, isCross: Bool, _ layout: inout DenseLayout
  ) -> AttentionDescription {
    let heads = side == .encoder ? encoderHeads : decoderHeads
    func projection(_ letters: [String]) -> Projection {
      let weight = layout.stacked(
        letters.map { ("\(layer).\(name).\($0)_proj.weight", width) }, width,
        bound: (3 / Float(width)).squareRoot())
      return Projection(
        weight: weight,
        bias: layout.vector(letters.map { ("\(layer).\(name).\($0)_proj.bias", width) }))
    }
    let norm = norm("\(layer).\(name)_layer_norm", &layout)
    let input = projection(isCross ? ["q"] : ["q", "k", "v"])
    let memory = isCross ? projection(["k", "v"]) : nil
    return AttentionDescription(
      norm: norm, shape: AttentionShape(heads: heads, headWidth: width / heads), input: input,
      memory: memory, output: projection(["out"]))
  }

  private func norm(_ name: String, _ layout: inout DenseLayout) -> NormDescription {
    let gain = layout.gain("\(name).weight", width)
    let bias = layout.vector([("\(name).bias", width)])
    return NormDescription(.layer(bias: bias), epsilon: 1e-5, gain: gain)
  }

  private func dense(
    _ name: String, _ hidden: Int, _ layout: inout DenseLayout
  ) -> FeedForwardDescription {
    let first = layout.matrix("\(name).fc1.weight", hidden, width)
    let second = layout.matrix("\(name).fc2.weight", hidden, width, isTransposed: true)
    return .dense(
      .init(
        activation, first: first, second: second,
        firstBias: layout.vector([("\(name).fc1.bias", hidden)]),
        secondBias: layout.vector([("\(name).fc2.bias", width)])))
  }

  /// - Parameter hidden: units of the experts; those beyond, up to what the other stack's have, are
  ///   zero and stay it.
  private func mixture(
    _ name: String, _ number: Int, _ hidden: Int, _ layout: inout DenseLayout
  ) -> FeedForwardDescription {
    let gate = layout.matrix("\(name).router.classifier.weight", experts.count, width)
    let bias =
      gateHasBias ? layout.vector([("\(name).router.classifier.bias", experts.count)]) : nil
    let names = (0..<experts.count).map { index in
      let expert = "\(name).experts.expert_\(index)"
      return ExpertNames(
        first: "\(expert).fc1.weight", second: "\(expert).fc2.weight",
        firstBias: "\(expert).fc1.bias", secondBias: "\(expert).fc2.bias", hidden: hidden)
    }
    return .mixture(
      .init(number: number, gate: Projection(weight: gate, bias: bias), names: names))
  }
}
