import Kernels

/// Z-code M3 (Kim et al. 2021, arXiv 2109.10465): an encoder-decoder of pre-norm layers with layer
/// norms, sinusoidal positions and no biases; the FFN of every `sparseStep`-th layer is a layer of
/// experts behind a top-1 gate; one table serves source, target and output.
///
/// Tensors have the names of Hugging Face's NLLB-MoE.
package struct Zcode: Sendable {
  package var width: Int
  package var heads: Int
  package var hidden: Int
  package var encoderLayers: Int
  package var decoderLayers: Int
  package var sparseStep: Int
  package var vocabulary: Int
  package var experts: ExpertShape
  /// What the gates of each side look at.
  package var gates = (encoder: GateKind.token, decoder: GateKind.token)
  /// Languages of the corpus; 0: unknown, and no gate is by task.
  package var languages = 0

  package enum GateKind: Sendable {
    case token
    /// Of the encoder alone.
    case sentence
    case task(TaskEmbedding.Kind)
  }

  package init(
    width: Int, heads: Int, hidden: Int, encoderLayers: Int, decoderLayers: Int,
    sparseStep: Int, vocabulary: Int, experts: ExpertShape
  ) {
    precondition(width % heads == 0, "heads divide the width")
    (self.width, self.heads, self.hidden) = (width, heads, hidden)
    (self.encoderLayers, self.decoderLayers) = (encoderLayers, decoderLayers)
    (self.sparseStep, self.vocabulary, self.experts) = (sparseStep, vocabulary, experts)
  }

  package func description(_ rule: TopOneRule) -> ModelDescription {
    description(.topOne(rule))
  }

  package func description(_ rule: RoutingRule) -> ModelDescription {
    var layout = DenseLayout()
    // Rows of variance 1 / width: after the sqrt(width) of the embedding they have unit variance,
    // and as the tied output matrix they give logits of unit variance.
    let table = layout.matrix(
      "model.shared.weight", vocabulary, width, bound: (3 / Float(width)).squareRoot())
    let inputs = (
      encoder: input(.encoder, gates.encoder, &layout),
      decoder: input(.decoder, gates.decoder, &layout)
    )
    let encoder = stack(.encoder, encoderLayers, inputs.encoder, mixturesBefore: 0, &layout)
    let decoder = stack(
      .decoder, decoderLayers, inputs.decoder, mixturesBefore: encoderLayers / sparseStep, &layout)
    return ModelDescription(
      width: width, vocabulary: vocabulary, experts: experts,
      embedding: EmbeddingDescription(
        table: table, scale: Float(width).squareRoot(), firstPosition: 2),
      encoder: encoder, decoder: decoder, head: HeadDescription(weight: table),
      routing: rule, layout: layout)
  }

  /// What the gates of a side look at. The embeddings of its tasks have the variance of a norm's
  /// output, which gates of tokens see.
  private func input(
    _ side: Side, _ kind: GateKind, _ layout: inout DenseLayout
  ) -> GateInput {
    switch kind {
    case .token: return .token
    case .sentence:
      precondition(side == .encoder, "a decoder does not know its sentence")
      return .sentence
    case .task(let kind):
      precondition(languages > 0, "tasks of known languages")
      let table = layout.matrix(
        "model.\(side).task_embedding.weight", TaskEmbedding.rows(kind, languages: languages),
        width, bound: Float(3).squareRoot())
      return .task(TaskEmbedding(kind: kind, languages: languages, table: table))
    }
  }

  private func stack(
    _ side: Side, _ count: Int, _ input: GateInput, mixturesBefore: Int,
    _ layout: inout DenseLayout
  ) -> StackDescription {
    let layers = (0..<count).map { layer(side, $0, input, mixturesBefore, &layout) }
    return StackDescription(
      layers: layers, finalNorm: norm("model.\(side).layer_norm", &layout))
  }

  private func layer(
    _ side: Side, _ index: Int, _ input: GateInput, _ mixturesBefore: Int,
    _ layout: inout DenseLayout
  ) -> LayerDescription {
    let name = "model.\(side).layers.\(index)"
    let selfAttention = attention("\(name).self_attn", isCross: false, &layout)
    let cross =
      side == .decoder ? attention("\(name).cross_attention", isCross: true, &layout) : nil
    let norm = norm("\(name).ff_layer_norm", &layout)
    // The last of every `sparseStep`.
    let isMixture = (index + 1) % sparseStep == 0
    return LayerDescription(
      side: side, index: index, selfAttention: selfAttention, crossAttention: cross,
      feedForwardNorm: norm,
      feedForward: isMixture
        ? mixture("\(name).ffn", mixturesBefore + index / sparseStep, input, &layout)
        : dense("\(name).ffn", &layout))
  }

  private func mixture(
    _ name: String, _ number: Int, _ input: GateInput, _ layout: inout DenseLayout
  ) -> FeedForwardDescription {
    let gate = layout.matrix(
      "\(name).router.classifier.weight", experts.count, width,
      bound: (1 / Float(width)).squareRoot())
    let names = (0..<experts.count).map {
      ExpertNames(
        first: "\(name).experts.expert_\($0).fc1.weight",
        second: "\(name).experts.expert_\($0).fc2.weight")
    }
    return .mixture(
      .init(number: number, gate: Projection(weight: gate), input: input, names: names))
  }

  private func dense(_ name: String, _ layout: inout DenseLayout) -> FeedForwardDescription {
    let first = layout.matrix("\(name).fc1.weight", hidden, width)
    let second = layout.matrix("\(name).fc2.weight", hidden, width, isTransposed: true)
    return .dense(.init(.relu, first: first, second: second))
  }

  private func norm(_ name: String, _ layout: inout DenseLayout) -> NormDescription {
    let gain = layout.gain("\(name).weight", width)
    let bias = layout.vector([("\(name).bias", width)])
    return NormDescription(.layer(bias: bias), epsilon: 1e-5, gain: gain)
  }

  private func attention(
    _ name: String, isCross: Bool, _ layout: inout DenseLayout
  ) -> AttentionDescription {
    // Each projection by itself is [width, width]; stacking must not shrink its initial weights.
    let bound = (6 / Float(2 * width)).squareRoot()
    func stacked(_ letters: [String]) -> TensorSlot {
      layout.stacked(letters.map { ("\(name).\($0)_proj.weight", width) }, width, bound: bound)
    }
    let norm = norm("\(name)_layer_norm", &layout)
    let input = stacked(isCross ? ["q"] : ["q", "k", "v"])
    let memory = isCross ? Projection(weight: stacked(["k", "v"])) : nil
    return AttentionDescription(
      norm: norm, shape: AttentionShape(heads: heads, headWidth: width / heads),
      input: Projection(weight: input), memory: memory,
      output: Projection(weight: stacked(["out"])))
  }
}
