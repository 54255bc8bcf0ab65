package import Layers

/// Qwen3-MoE (Qwen team 2025, arXiv 2505.09388): each head of queries and keys is normalised, heads
/// need not divide the width, and some layers may have a dense feed-forward.
package struct Qwen3MoE: Sendable {
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
  package var attentionHasBiases: Bool
  /// A token that entering teaches nothing; nil: there is none.
  package var padding: Int?
  package var isTied: Bool
  package var denseHidden: Int
  /// Layers with experts.
  package var sparse: Set<Int>
  package var experts: ExpertShape

  package init(
    width: Int, heads: Int, keyHeads: Int, headWidth: Int, layers: Int, vocabulary: Int,
    epsilon: Float, rotary: RotaryPositions, window: Int? = nil, attentionHasBiases: Bool = false,
    padding: Int? = nil, isTied: Bool, denseHidden: Int, sparse: Set<Int>, experts: ExpertShape
  ) {
    (self.width, self.heads, self.keyHeads) = (width, heads, keyHeads)
    (self.headWidth, self.layers, self.vocabulary) = (headWidth, layers, vocabulary)
    (self.epsilon, self.rotary, self.window) = (epsilon, rotary, window)
    (self.attentionHasBiases, self.padding) = (attentionHasBiases, padding)
    self.isTied = isTied
    (self.denseHidden, self.sparse, self.experts) = (denseHidden, sparse, experts)
  }

  package func description(_ rule: TopKRule) -> ModelDescription {
    LlamaSkeleton(
      width: width, heads: heads, keyHeads: keyHeads, headWidth: headWidth, layers: layers,
      vocabulary: vocabulary, epsilon: epsilon, rotary: rotary, queryKeyNorm: .eachHead,
      clip: nil, window: window, attentionHasBiases: attentionHasBiases, padding: padding,
      isTied: isTied, experts: experts, denseHidden: denseHidden,
      isMixture: { [sparse] in sparse.contains($0) },
      mixtureName: "mlp", projectionNames: (gate: "gate_proj", up: "up_proj", down: "down_proj")
    ).description(rule)
  }
}
