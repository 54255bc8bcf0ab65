import Models

/// Which blocks of the dense part each layer has a part of, in forward order.
struct DenseMap: Sendable {
  let blocks: DenseBlocks
  let layers: [[Int]]
  /// Blocks with a part that belongs to no layer, factors among them, and whether a block is one.
  let ends: [Int]
  let isEnd: [Bool]
  /// The tensors of each layer, and those of none, by number.
  let slots: [[Int]]
  let endSlots: [Int]

  init(_ description: ModelDescription, _ blocks: DenseBlocks) {
    let (ranges, slots) = (description.denseRanges, description.layout.slots)
    func numbers(_ isWanted: (TensorSlot) -> Bool) -> [Int] {
      slots.indices.filter { isWanted(slots[$0]) }
    }
    let endSlots = numbers { slot in !ranges.contains { $0.overlaps(slot.range) } }
    let isEnd = (0..<blocks.count).map { block in
      blocks.factors.overlaps(blocks.range(block))
        || endSlots.contains { slots[$0].range.overlaps(blocks.range(block)) }
    }
    self.blocks = blocks
    self.endSlots = endSlots
    self.isEnd = isEnd
    ends = isEnd.indices.filter { isEnd[$0] }
    self.slots = ranges.map { range in numbers { $0.range.overlaps(range) } }
    layers = ranges.map { range in blocks.blocks(of: range).map { $0 } }
  }

  /// Blocks that are complete when the backward sweep has left `layer`: no earlier layer has a part
  /// of them, and no end.
  func finished(by layer: Int) -> [Int] {
    layers[layer].filter { block in
      !isEnd[block] && (layer == 0 || !layers[layer - 1].contains(block))
    }
  }

  /// Most bytes that weights and gradients take at once when they are paged: those of the ends, of
  /// the last layer, which waits for the backward sweep, and of two layers where a sweep passes from
  /// one to the other; gradients of one layer.
  var pagedBytes: Int {
    let inner = layers.map { $0.filter { !isEnd[$0] } }
    let pairs = zip(inner, inner.dropFirst()).map { Set($0 + $1).count }
    let (one, two) = (inner.map(\.count).max() ?? 0, pairs.max() ?? 0)
    let weights = ends.count + max(one, two) + (inner.last?.count ?? 0)
    return (weights + ends.count + one) * blocks.parametersPerBlock * MemoryLayout<Float>.stride
  }
}
