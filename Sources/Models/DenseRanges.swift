/// Where the dense tensors of each layer lie in the flat vector: what a sweep needs of it at a time.
extension ModelDescription {
  /// The range of each layer, in forward order, the encoder's first. Ranges ascend and do not
  /// overlap; what is in none of them belongs to no layer: embeddings, head, final norms, tables of
  /// relative positions.
  package var denseRanges: [Range<Int>] {
    var end = 0
    return layers.map { layer in
      let slots = layer.denseSlots.sorted { $0.offset < $1.offset }
      let range = slots[0].offset..<slots[slots.count - 1].range.upperBound
      precondition(range.lowerBound >= end, "layers come in order")
      precondition(range.count == slots.reduce(0) { $0 + $1.count }, "a layer lies together")
      end = range.upperBound
      return range
    }
  }

  /// The place of `layer` in forward order.
  package func number(of layer: LayerDescription) -> Int {
    layer.side == .encoder ? layer.index : (encoder?.layers.count ?? 0) + layer.index
  }
}

extension LayerDescription {
  /// Every dense tensor of this layer, in no particular order.
  fileprivate var denseSlots: [TensorSlot] {
    let attentions = [selfAttention, crossAttention].compactMap { $0 }
    return attentions.flatMap(\.slots) + feedForwardNorm.slots + feedForward.slots
  }
}

extension AttentionDescription {
  fileprivate var slots: [TensorSlot] {
    let norms = [norm, queryNorm, keyNorm].compactMap { $0 }
    let projections = [input, memory, output].compactMap { $0 }
    return norms.flatMap(\.slots) + projections.flatMap(\.slots)
  }
}

extension FeedForwardDescription {
  fileprivate var slots: [TensorSlot] {
    switch self {
    case .dense(let ffn):
      [ffn.first, ffn.second, ffn.third, ffn.firstBias, ffn.secondBias].compactMap { $0 }
    case .mixture(let mixture): mixture.gate.slots
    }
  }
}

extension NormDescription {
  fileprivate var slots: [TensorSlot] {
    if case .layer(let bias) = kind { [gain, bias] } else { [gain] }
  }
}

extension Projection {
  fileprivate var slots: [TensorSlot] { [weight, bias].compactMap { $0 } }
}
