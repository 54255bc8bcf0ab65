package import Layers

/// Mixtral (Jiang et al. 2024, arXiv 2401.04088): every feed-forward is a layer of experts, the
/// weights of the chosen ones are shares of their probabilities, no token is dropped.
package struct Mixtral: Sendable {
  package var width: Int
  package var heads: Int
  package var keyHeads: Int
  package var headWidth: Int
  package var layers: Int
  package var vocabulary: Int
  package var epsilon: Float
  package var rotary: RotaryPositions
  /// Positions that attention sees; nil: all before.
  package var window: Int?
  /// A token that entering teaches nothing; nil: there is none.
  package var padding: Int?
  package var isTied: Bool
  package var experts: ExpertShape

  package init(
    width: Int, heads: Int, keyHeads: Int, headWidth: Int, layers: Int, vocabulary: Int,
    epsilon: Float, rotary: RotaryPositions, window: Int? = nil, padding: Int? = nil, isTied: Bool,
    experts: ExpertShape
  ) {
    (self.width, self.heads, self.keyHeads) = (width, heads, keyHeads)
    (self.headWidth, self.layers, self.vocabulary) = (headWidth, layers, vocabulary)
    (self.epsilon, self.rotary, self.window) = (epsilon, rotary, window)
    (self.padding, self.isTied) = (padding, isTied)
    self.experts = experts
  }

  package func description(_ rule: TopKRule) -> ModelDescription {
    LlamaSkeleton(
      width: width, heads: heads, keyHeads: keyHeads, headWidth: headWidth, layers: layers,
      vocabulary: vocabulary, epsilon: epsilon, rotary: rotary, queryKeyNorm: .none,
      clip: nil, window: window, attentionHasBiases: false, padding: padding, isTied: isTied,
      experts: experts, denseHidden: 0, isMixture: { _ in true },
      mixtureName: "block_sparse_moe", projectionNames: (gate: "w1", up: "w3", down: "w2")
    ).description(rule)
  }
}
