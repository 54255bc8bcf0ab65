import Kernels
import Layers

/// What Mixtral, OLMoE and Qwen3-MoE have in common: a decoder with RMS norms, rotary positions,
/// grouped key and value heads and gated feed-forwards; biases in the attention, if anywhere.
struct LlamaSkeleton {
  /// Norms of queries and keys.
  enum QueryKeyNorm {
    case none
    /// Over all heads together.
    case whole
    /// Over each head, with one gain for all.
    case eachHead
  }

  let width: Int
  let heads: Int
  let keyHeads: Int
  let headWidth: Int
  let layers: Int
  let vocabulary: Int
  let epsilon: Float
  let rotary: RotaryPositions
  let queryKeyNorm: QueryKeyNorm
  /// Queries, keys and values are cut to -clip ... clip; nil: they are not.
  let clip: Float?
  /// Positions that attention sees; nil: all before.
  let window: Int?
  let attentionHasBiases: Bool
  /// A token that entering teaches nothing; nil: there is none.
  let padding: Int?
  /// Whether the output matrix is the embedding.
  let isTied: Bool
  let experts: ExpertShape
  /// Hidden units of layers without experts.
  let denseHidden: Int
  let isMixture: (Int) -> Bool
  /// The names of a layer's experts' place and projections in checkpoints.
  let mixtureName: String
  let projectionNames: (gate: String, up: String, down: String)

  func description(_ rule: TopKRule) -> ModelDescription {
    var layout = DenseLayout()
    let table = layout.matrix(
      "model.embed_tokens.weight", vocabulary, width, bound: Self.bound)
    var mixtures = 0
    let layers = (0..<layers).map { layer($0, &mixtures, &layout) }
    let finalNorm = norm("model.norm", width, &layout)
    let head =
      isTied ? table : layout.matrix("lm_head.weight", vocabulary, width, bound: Self.bound)
    return ModelDescription(
      width: width, vocabulary: vocabulary, experts: experts,
      embedding: EmbeddingDescription(
        table: table, scale: 1, untrained: padding.map { Int32($0) }), encoder: nil,
      decoder: StackDescription(layers: layers, finalNorm: finalNorm),
      head: HeadDescription(weight: head), routing: .topK(rule), layout: layout)
  }

  /// Of uniform weights with the families' deviation of 0.02.
  static let bound = 0.02 * Float(3).squareRoot()

  private func layer(
    _ index: Int, _ mixtures: inout Int, _ layout: inout DenseLayout
  ) -> LayerDescription {
    let name = "model.layers.\(index)"
    let attention = attention(name, &layout)
    let norm = norm("\(name).post_attention_layernorm", width, &layout)
    let isMixture = isMixture(index)
    let feedForward =
      isMixture
      ? mixture("\(name).\(mixtureName)", mixtures, &layout) : dense("\(name).mlp", &layout)
    if isMixture { mixtures += 1 }
    return LayerDescription(
      side: .decoder, index: index, selfAttention: attention, feedForwardNorm: norm,
      feedForward: feedForward)
  }

  private func attention(_ name: String, _ layout: inout DenseLayout) -> AttentionDescription {
    let (queries, keys) = (heads * headWidth, keyHeads * headWidth)
    let norm = norm("\(name).input_layernorm", width, &layout)
    let rows = [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)]
    let input = projection("\(name).self_attn", rows, width, &layout)
    let queryNorm = headNorm("\(name).self_attn.q_norm", heads, &layout)
    let keyNorm = headNorm("\(name).self_attn.k_norm", keyHeads, &layout)
    let output = projection("\(name).self_attn", [("o_proj", width)], queries, &layout)
    return AttentionDescription(
      norm: norm,
      shape: AttentionShape(
        heads: heads, keyHeads: keyHeads, headWidth: headWidth, window: window),
      input: input, output: output, queryNorm: queryNorm, keyNorm: keyNorm, clip: clip,
      rotary: rotary)
  }

  private func projection(
    _ name: String, _ parts: [(name: String, rows: Int)], _ columns: Int,
    _ layout: inout DenseLayout
  ) -> Projection {
    func named(_ kind: String) -> [(name: String, rows: Int)] {
      parts.map { ("\(name).\($0.name).\(kind)", $0.rows) }
    }
    let weight = layout.stacked(named("weight"), columns, bound: Self.bound)
    return Projection(
      weight: weight, bias: attentionHasBiases ? layout.vector(named("bias")) : nil)
  }

  private func headNorm(
    _ name: String, _ heads: Int, _ layout: inout DenseLayout
  ) -> NormDescription? {
    switch queryKeyNorm {
    case .none: nil
    case .whole: norm(name, heads * headWidth, &layout)
    case .eachHead:
      NormDescription(
        .rms, epsilon: epsilon, gain: layout.gain("\(name).weight", headWidth), groups: heads)
    }
  }

  private func norm(
    _ name: String, _ width: Int, _ layout: inout DenseLayout
  ) -> NormDescription {
    NormDescription(.rms, epsilon: epsilon, gain: layout.gain("\(name).weight", width))
  }

  /// W1 is the projection that passes the activation, W3 the one it is multiplied by.
  private func dense(_ name: String, _ layout: inout DenseLayout) -> FeedForwardDescription {
    let names = ("\(name).gate_proj.weight", "\(name).down_proj.weight", "\(name).up_proj.weight")
    let first = layout.matrix(names.0, denseHidden, width, bound: Self.bound)
    let second = layout.matrix(
      names.1, denseHidden, width, bound: Self.bound, isTransposed: true)
    let third = layout.matrix(names.2, denseHidden, width, bound: Self.bound)
    return .dense(.init(experts.activation, first: first, second: second, third: third))
  }

  private func mixture(
    _ name: String, _ number: Int, _ layout: inout DenseLayout
  ) -> FeedForwardDescription {
    let gate = layout.matrix("\(name).gate.weight", experts.count, width, bound: Self.bound)
    let names = (0..<experts.count).map { index in
      let expert = "\(name).experts.\(index)"
      return ExpertNames(
        first: "\(expert).\(projectionNames.gate).weight",
        second: "\(expert).\(projectionNames.down).weight",
        third: "\(expert).\(projectionNames.up).weight")
    }
    return .mixture(.init(number: number, gate: Projection(weight: gate), names: names))
  }
}
