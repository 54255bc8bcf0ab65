/// The name of one block, the unit of paging.
///
/// An expert block is a slice of one expert of one MoE layer; layers count in forward order over
/// the whole model, the encoder first. A dense block is a range of the flat vector of dense
/// parameters.
package struct BlockID: Hashable, Sendable {
  package enum Kind: UInt8, Sendable {
    case dense = 0
    case expert = 1
  }

  package let kind: Kind
  /// The MoE layer in forward order; 0 for a dense block.
  package let layer: Int
  /// The expert of the layer, or the number of the dense range.
  package let index: Int
  /// The slice of the expert's hidden dimension; 0 for a dense block.
  package let slice: Int

  package static func expert(layer: Int, _ expert: Int, slice: Int = 0) -> BlockID {
    BlockID(kind: .expert, layer: layer, index: expert, slice: slice)
  }
  package static func dense(_ range: Int) -> BlockID {
    BlockID(kind: .dense, layer: 0, index: range, slice: 0)
  }

  private init(kind: Kind, layer: Int, index: Int, slice: Int) {
    precondition(0 <= layer && layer < 1 << 16, "layer fits 16 bits")
    precondition(0 <= index && index < 1 << 24, "index fits 24 bits")
    precondition(0 <= slice && slice < 1 << 16, "slice fits 16 bits")
    (self.kind, self.layer, self.index, self.slice) = (kind, layer, index, slice)
  }

  /// One integer for the manifest: kind in bits 56..., layer 40..., index 16..., slice 0...
  package var rawValue: Int64 {
    Int64(kind.rawValue) << 56 | Int64(layer) << 40 | Int64(index) << 16 | Int64(slice)
  }

  package init?(rawValue: Int64) {
    guard rawValue >= 0, let kind = Kind(rawValue: UInt8(rawValue >> 56)) else { return nil }
    self.init(
      kind: kind, layer: Int(rawValue >> 40) & 0xffff, index: Int(rawValue >> 16) & 0xff_ffff,
      slice: Int(rawValue) & 0xffff)
  }
}

extension BlockID: Comparable {
  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

extension BlockID: CustomStringConvertible {
  package var description: String {
    switch kind {
    case .dense: "dense block \(index)"
    case .expert: "layer \(layer) expert \(index)" + (slice == 0 ? "" : " slice \(slice)")
    }
  }
}
