package import Layers

/// OLMoE (Muennighoff et al. 2024, arXiv 2409.02060): queries and keys are normalised over all heads
/// together, every feed-forward is a layer of many small experts, weighted by their probabilities.
package struct OLMoE: Sendable {
  package var width: Int
  package var heads: Int
  package var keyHeads: Int
  package var layers: Int
  package var vocabulary: Int
  package var epsilon: Float
  package var rotary: RotaryPositions
  /// Queries, keys and values are cut to -clip ... clip; nil: they are not.
  package var clip: Float?
  package var attentionHasBiases: Bool
  /// A token that entering teaches nothing; nil: there is none.
  package var padding: Int?
  package var isTied: Bool
  package var experts: ExpertShape

  package init(
    width: Int, heads: Int, keyHeads: Int, layers: Int, vocabulary: Int, epsilon: Float,
    rotary: RotaryPositions, clip: Float? = nil, attentionHasBiases: Bool = false,
    padding: Int? = nil, isTied: Bool,
    experts: ExpertShape
  ) {
    (self.width, self.heads, self.keyHeads) = (width, heads, keyHeads)
    (self.layers, self.vocabulary, self.epsilon) = (layers, vocabulary, epsilon)
    (self.rotary, self.clip, self.attentionHasBiases) = (rotary, clip, attentionHasBiases)
    (self.padding, self.isTied, self.experts) = (padding, isTied, experts)
  }

  package func description(_ rule: TopKRule) -> ModelDescription {
    LlamaSkeleton(
      width: width, heads: heads, keyHeads: keyHeads, headWidth: width / heads, layers: layers,
      vocabulary: vocabulary, epsilon: epsilon, rotary: rotary, queryKeyNorm: .whole,
      clip: clip, window: nil, attentionHasBiases: attentionHasBiases, padding: padding,
      isTied: isTied, experts: experts, denseHidden: 0, isMixture: { _ in true },
      mixtureName: "mlp", projectionNames: (gate: "gate_proj", up: "up_proj", down: "down_proj")
    ).description(rule)
  }
}
