/// The geometry of an encoder-decoder mixture-of-experts transformer in the style of Z-code M3
/// (Kim et al. 2021, arXiv 2109.10465): pre-norm layers, every `sparseStep`-th FFN a layer of
/// experts with a top-1 gate, one vocabulary for source, target and output.
package struct ZcodeShape: Sendable, Equatable {
  package var width: Int
  package var heads: Int
  package var hidden: Int
  package var encoderLayers: Int
  package var decoderLayers: Int
  package var experts: Int
  package var sparseStep: Int
  package var vocabulary: Int
  /// Equal pieces along the hidden dimension into which an expert is cut, so that a piece's record
  /// is at most `storage.block_bytes` long. They are summed in order.
  package var slices: Int

  package init(
    width: Int, heads: Int, hidden: Int, encoderLayers: Int, decoderLayers: Int, experts: Int,
    sparseStep: Int, vocabulary: Int, slices: Int = 1
  ) {
    precondition(width % heads == 0, "heads divide the width")
    precondition(hidden % slices == 0, "slices divide the hidden dimension")
    self.width = width
    self.heads = heads
    self.hidden = hidden
    self.encoderLayers = encoderLayers
    self.decoderLayers = decoderLayers
    self.experts = experts
    self.sparseStep = sparseStep
    self.vocabulary = vocabulary
    self.slices = slices
  }

  /// Whether layer `index` of a stack has experts: the last of every `sparseStep`.
  package func isMixture(_ index: Int) -> Bool { (index + 1) % sparseStep == 0 }

  package var encoderMixtures: Int { encoderLayers / sparseStep }
  package var mixtures: Int { encoderMixtures + decoderLayers / sparseStep }

  /// Hidden units of one slice of an expert.
  package var sliceHidden: Int { hidden / slices }
  /// Parameters of one block: W1 [sliceHidden, width], then W2 transposed, of the same shape.
  package var parametersPerBlock: Int { 2 * sliceHidden * width }
  package var expertBlocks: Int { mixtures * experts * slices }

  /// The bound of an expert's initial weights (Glorot and Bengio 2010, over the whole expert).
  package var expertBound: Float { (6 / Float(width + hidden)).squareRoot() }

  /// The fewest slices, a divisor of `hidden`, that keep a record of `bytesPerParameter` within
  /// `blockBytes`; nil when even one hidden unit is too large.
  package static func slices(
    hidden: Int, width: Int, bytesPerParameter: Int, blockBytes: Int
  ) -> Int? {
    (1...hidden).first {
      hidden % $0 == 0 && 2 * (hidden / $0) * width * bytesPerParameter <= blockBytes
    }
  }
}

/// The encoder or the decoder.
package enum Side: Sendable { case encoder, decoder }

/// The dense tensors of one attention: pre-norm, projections, output.
package struct AttentionSlots: Sendable {
  package let norm: NormSlots
  /// Queries [width, width] for cross-attention; queries, keys and values [3 width, width]
  /// otherwise.
  package let input: TensorSlot
  /// Keys and values of cross-attention [2 width, width]; nil for self-attention.
  package let memory: TensorSlot?
  package let output: TensorSlot
}

/// What follows the attention of a layer.
package enum FeedForwardSlots: Sendable {
  /// One FFN for all tokens: W1 and W2 transposed, both [hidden, width].
  case dense(first: TensorSlot, second: TensorSlot)
  /// Experts behind a gate [experts, width]; `number` counts such layers in forward order.
  case mixture(number: Int, gate: TensorSlot)
}

/// One layer, described: which side, and where its dense tensors lie.
package struct ZcodeLayer: Sendable {
  package let side: Side
  package let index: Int
  package let selfAttention: AttentionSlots
  package let crossAttention: AttentionSlots?
  package let feedForwardNorm: NormSlots
  package let feedForward: FeedForwardSlots

  /// The number of this layer among those with experts; nil for a dense layer.
  package var mixture: Int? {
    if case .mixture(let number, _) = feedForward { number } else { nil }
  }
}

/// The whole model, described: layers in forward order and the layout of the dense parameters.
package struct ZcodeDescription: Sendable {
  package let shape: ZcodeShape
  package let layout: DenseLayout
  package let embedding: TensorSlot
  package let encoder: [ZcodeLayer]
  package let decoder: [ZcodeLayer]
  package let encoderNorm: NormSlots
  package let decoderNorm: NormSlots

  package var layerCount: Int { encoder.count + decoder.count }

  package init(_ shape: ZcodeShape) {
    var layout = DenseLayout()
    // Rows of variance 1 / width: after the sqrt(width) of the embedding they have unit variance,
    // and as the tied output matrix they give logits of unit variance.
    embedding = layout.matrix(
      "model.shared.weight", shape.vocabulary, shape.width,
      bound: (3 / Float(shape.width)).squareRoot())
    encoder = (0..<shape.encoderLayers).map { Self.layer(.encoder, $0, shape, &layout) }
    encoderNorm = layout.norm("model.encoder.layer_norm", shape.width)
    decoder = (0..<shape.decoderLayers).map { Self.layer(.decoder, $0, shape, &layout) }
    decoderNorm = layout.norm("model.decoder.layer_norm", shape.width)
    self.shape = shape
    self.layout = layout
  }

  private static func layer(
    _ side: Side, _ index: Int, _ shape: ZcodeShape, _ layout: inout DenseLayout
  ) -> ZcodeLayer {
    let name = "model.\(side).layers.\(index)"
    let selfAttention = attention("\(name).self_attn", shape, isCross: false, &layout)
    let cross =
      side == .decoder
      ? attention("\(name).cross_attention", shape, isCross: true, &layout) : nil
    let norm = layout.norm("\(name).ff_layer_norm", shape.width)
    let feedForward: FeedForwardSlots
    if shape.isMixture(index) {
      let before = side == .encoder ? 0 : shape.encoderMixtures
      feedForward = .mixture(
        number: before + index / shape.sparseStep,
        gate: layout.matrix(
          "\(name).ffn.router.classifier.weight", shape.experts, shape.width,
          bound: (1 / Float(shape.width)).squareRoot()))
    } else {
      feedForward = .dense(
        first: layout.matrix("\(name).ffn.fc1.weight", shape.hidden, shape.width),
        second: layout.matrix("\(name).ffn.fc2.weight.T", shape.hidden, shape.width))
    }
    return ZcodeLayer(
      side: side, index: index, selfAttention: selfAttention, crossAttention: cross,
      feedForwardNorm: norm, feedForward: feedForward)
  }

  private static func attention(
    _ name: String, _ shape: ZcodeShape, isCross: Bool, _ layout: inout DenseLayout
  ) -> AttentionSlots {
    let d = shape.width
    // Each projection by itself is [d, d]; stacking them must not shrink their initial weights.
    let bound = (6 / Float(2 * d)).squareRoot()
    return AttentionSlots(
      norm: layout.norm("\(name)_layer_norm", d),
      input: layout.matrix(
        "\(name).\(isCross ? "q" : "qkv")_proj.weight", isCross ? d : 3 * d, d, bound: bound),
      memory: isCross ? layout.matrix("\(name).kv_proj.weight", 2 * d, d, bound: bound) : nil,
      output: layout.matrix("\(name).out_proj.weight", d, d, bound: bound))
  }
}
