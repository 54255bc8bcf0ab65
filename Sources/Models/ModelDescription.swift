package import Kernels
package import Layers

/// A whole model, described: what its layers are made of, in forward order, and where their dense
/// tensors lie. Families (`Families/`) write descriptions; `Transformer` computes what they say.
package struct ModelDescription: Sendable {
  package let width: Int
  package let vocabulary: Int
  package let experts: ExpertShape
  package let embedding: EmbeddingDescription
  /// nil: a decoder alone.
  package let encoder: StackDescription?
  package let decoder: StackDescription
  package let head: HeadDescription
  package let routing: RoutingRule
  package let layout: DenseLayout

  package init(
    width: Int, vocabulary: Int, experts: ExpertShape, embedding: EmbeddingDescription,
    encoder: StackDescription?, decoder: StackDescription, head: HeadDescription,
    routing: RoutingRule, layout: DenseLayout
  ) {
    (self.width, self.vocabulary, self.experts) = (width, vocabulary, experts)
    (self.embedding, self.encoder, self.decoder) = (embedding, encoder, decoder)
    (self.head, self.routing, self.layout) = (head, routing, layout)
  }

  package func stack(_ side: Side) -> StackDescription? { side == .encoder ? encoder : decoder }
  /// All layers in forward order.
  package var layers: [LayerDescription] { (encoder?.layers ?? []) + decoder.layers }
  /// Layers with experts.
  package var mixtures: Int { layers.count { $0.mixture != nil } }
  /// Of the experts that are there.
  package var expertBlocks: Int {
    layers.compactMap(\.keptExperts).reduce(0) { $0 + $1.count } * experts.slices
  }

  /// The experts that are there, of the layer with experts of this number.
  package func keptExperts(of mixture: Int) -> [Int] {
    guard let experts = layers.first(where: { $0.mixture == mixture })?.keptExperts else {
      preconditionFailure("a layer with experts")
    }
    return experts
  }

  /// The same with some of the experts of each layer that has any, in forward order.
  package func keeping(_ kept: [KeptExperts]) -> ModelDescription {
    precondition(kept.count == mixtures, "the experts of each layer")
    return ModelDescription(
      width: width, vocabulary: vocabulary, experts: experts, embedding: embedding,
      encoder: encoder.map { $0.keeping(kept) }, decoder: decoder.keeping(kept), head: head,
      routing: routing, layout: layout)
  }
}

extension StackDescription {
  fileprivate func keeping(_ kept: [KeptExperts]) -> StackDescription {
    StackDescription(
      layers: layers.map { $0.keeping(kept) }, finalNorm: finalNorm, positionBias: positionBias)
  }
}

extension LayerDescription {
  /// The numbers of the experts that are there; nil where there never were any.
  package var keptExperts: [Int]? {
    guard case .mixture(let mixture) = feedForward else { return nil }
    return mixture.kept?.experts ?? Array(mixture.names.indices)
  }

  fileprivate func keeping(_ kept: [KeptExperts]) -> LayerDescription {
    guard case .mixture(var mixture) = feedForward else { return self }
    mixture.kept = kept[mixture.number]
    return LayerDescription(
      side: side, index: index, selfAttention: selfAttention, crossAttention: crossAttention,
      feedForwardNorm: feedForwardNorm, feedForward: .mixture(mixture))
  }
}

/// The encoder or the decoder; a decoder alone is a decoder.
package enum Side: Sendable { case encoder, decoder }

/// A stack of layers and what is common to them.
package struct StackDescription: Sendable {
  package let layers: [LayerDescription]
  package let finalNorm: NormDescription
  /// What all self-attentions add to their scores; nil: nothing.
  package let positionBias: PositionBiasDescription?

  package init(
    layers: [LayerDescription], finalNorm: NormDescription,
    positionBias: PositionBiasDescription? = nil
  ) {
    (self.layers, self.finalNorm) = (layers, finalNorm)
    self.positionBias = positionBias
  }
}

/// One layer: pre-norm sublayers, each residual.
package struct LayerDescription: Sendable {
  package let side: Side
  package let index: Int
  package let selfAttention: AttentionDescription
  package let crossAttention: AttentionDescription?
  package let feedForwardNorm: NormDescription
  package let feedForward: FeedForwardDescription

  package init(
    side: Side, index: Int, selfAttention: AttentionDescription,
    crossAttention: AttentionDescription? = nil, feedForwardNorm: NormDescription,
    feedForward: FeedForwardDescription
  ) {
    (self.side, self.index, self.selfAttention) = (side, index, selfAttention)
    (self.crossAttention, self.feedForwardNorm) = (crossAttention, feedForwardNorm)
    self.feedForward = feedForward
  }

  /// The number of this layer among those with experts; nil for a dense layer.
  package var mixture: Int? {
    if case .mixture(let mixture) = feedForward { mixture.number } else { nil }
  }
}

/// A norm over the features of a row.
package struct NormDescription: Sendable {
  package enum Kind: Sendable {
    case layer(bias: TensorSlot)
    case rms
  }
  package let kind: Kind
  package let epsilon: Float
  package let gain: TensorSlot
  /// Runs of columns that are normalised by themselves with one gain: heads.
  package let groups: Int

  package init(_ kind: Kind, epsilon: Float, gain: TensorSlot, groups: Int = 1) {
    (self.kind, self.epsilon, self.gain, self.groups) = (kind, epsilon, gain, groups)
  }
}

/// y = x W^T + b, W [out, in], b [1, out].
package struct Projection: Sendable {
  package let weight: TensorSlot
  package let bias: TensorSlot?

  package init(weight: TensorSlot, bias: TensorSlot? = nil) {
    (self.weight, self.bias) = (weight, bias)
  }
}

/// One attention: norm, projections, what happens to queries and keys, output.
package struct AttentionDescription: Sendable {
  package let norm: NormDescription
  package let shape: AttentionShape
  /// Queries alone for cross-attention; queries, keys and values below each other otherwise.
  package let input: Projection
  /// Keys and values of the encoder's output for cross-attention.
  package let memory: Projection?
  package let output: Projection
  /// Norms of queries and keys, after the projection.
  package let queryNorm: NormDescription?
  package let keyNorm: NormDescription?
  /// After the norms queries, keys and values are cut to -clip ... clip; nil: they are not.
  package let clip: Float?
  /// How queries and keys turn with their positions; nil: not at all.
  package let rotary: RotaryPositions?

  package init(
    norm: NormDescription, shape: AttentionShape, input: Projection, memory: Projection? = nil,
    output: Projection, queryNorm: NormDescription? = nil, keyNorm: NormDescription? = nil,
    clip: Float? = nil, rotary: RotaryPositions? = nil
  ) {
    (self.norm, self.shape, self.input, self.memory) = (norm, shape, input, memory)
    (self.output, self.queryNorm, self.keyNorm) = (output, queryNorm, keyNorm)
    (self.clip, self.rotary) = (clip, rotary)
  }

  /// Whether the backward sweep needs what the projection gave.
  var needsRaw: Bool { queryNorm != nil || keyNorm != nil || clip != nil }
}

package struct AttentionShape: Sendable, Hashable {
  package let heads: Int
  /// Heads of keys and values, each shared by heads / keyHeads heads of queries.
  package let keyHeads: Int
  package let headWidth: Int
  /// Scores are multiplied by this.
  package let scale: Float
  /// Positions that causal attention sees, its own included; nil: all.
  package let window: Int?

  package init(
    heads: Int, keyHeads: Int? = nil, headWidth: Int, scale: Float? = nil, window: Int? = nil
  ) {
    self.heads = heads
    self.window = window
    self.keyHeads = keyHeads ?? heads
    self.headWidth = headWidth
    self.scale = scale ?? 1 / Float(headWidth).squareRoot()
    precondition(heads % self.keyHeads == 0, "as many query heads for each key head")
  }

  package var queryColumns: Int { heads * headWidth }
  package var keyColumns: Int { keyHeads * headWidth }
}

/// A learned number for each head and bucket of relative positions (Raffel et al., "T5", 2020).
package struct PositionBiasDescription: Sendable {
  /// [buckets, heads].
  package let table: TensorSlot
  package let maxDistance: Int
  package let isBidirectional: Bool

  package init(table: TensorSlot, maxDistance: Int, isBidirectional: Bool) {
    (self.table, self.maxDistance) = (table, maxDistance)
    self.isBidirectional = isBidirectional
  }
}

/// What follows the attention of a layer.
package enum FeedForwardDescription: Sendable {
  /// One FFN for all tokens.
  case dense(DenseFeedForward)
  /// Experts behind a gate.
  case mixture(Mixture)

  package struct DenseFeedForward: Sendable {
    package let activation: Activation
    /// W1, and W2 transposed, both [hidden, width]; W3 like W1 where the FFN is gated.
    package let first: TensorSlot
    package let second: TensorSlot
    package let third: TensorSlot?
    package let firstBias: TensorSlot?
    package let secondBias: TensorSlot?

    package init(
      _ activation: Activation, first: TensorSlot, second: TensorSlot, third: TensorSlot? = nil,
      firstBias: TensorSlot? = nil, secondBias: TensorSlot? = nil
    ) {
      (self.activation, self.first, self.second) = (activation, first, second)
      (self.third, self.firstBias, self.secondBias) = (third, firstBias, secondBias)
    }
  }

  package struct Mixture: Sendable {
    /// Counts layers with experts in forward order.
    package let number: Int
    /// [experts, width].
    package let gate: Projection
    package let input: GateInput
    /// The experts that are still there; nil: all.
    package internal(set) var kept: KeptExperts?
    /// The names of each expert's tensors in checkpoints.
    package let names: [ExpertNames]

    package init(
      number: Int, gate: Projection, input: GateInput = .token, names: [ExpertNames]
    ) {
      (self.number, self.gate, self.input, self.names) = (number, gate, input, names)
    }
  }
}

/// What checkpoints call the tensors of one expert: W1 and W3 are [hidden, width] there, W2 [width,
/// hidden].
package struct ExpertNames: Sendable {
  package let first: String
  package let second: String
  package let third: String?
  package let firstBias: String?
  package let secondBias: String?
  /// Hidden units in checkpoints, where they are fewer than the model's experts have: the others are
  /// zero, and stay so, as nothing enters or leaves them; nil: as many.
  package let hidden: Int?

  package init(
    first: String, second: String, third: String? = nil, firstBias: String? = nil,
    secondBias: String? = nil, hidden: Int? = nil
  ) {
    (self.first, self.second, self.third) = (first, second, third)
    (self.firstBias, self.secondBias, self.hidden) = (firstBias, secondBias, hidden)
  }

  package var all: [String] {
    [first, second, third, firstBias, secondBias].compactMap { $0 }
  }
}

/// How tokens enter.
package struct EmbeddingDescription: Sendable {
  package let table: TensorSlot
  package let scale: Float
  /// The number of a sequence's first token among sinusoidal positions; nil: there are none.
  package let firstPosition: Int?
  /// A token without a position; nil: every token has one.
  package let padding: Int32?
  /// A token that entering teaches nothing: its row has no gradient here; nil: there is none.
  package let untrained: Int32?

  package init(
    table: TensorSlot, scale: Float, firstPosition: Int? = nil, padding: Int32? = nil,
    untrained: Int32? = nil
  ) {
    (self.table, self.scale) = (table, scale)
    (self.firstPosition, self.padding, self.untrained) = (firstPosition, padding, untrained)
  }
}

/// How logits leave: scale * z W^T.
package struct HeadDescription: Sendable {
  /// [vocabulary, width]; the embedding's table where they are tied.
  package let weight: TensorSlot
  package let scale: Float

  package init(weight: TensorSlot, scale: Float = 1) { (self.weight, self.scale) = (weight, scale) }
}
