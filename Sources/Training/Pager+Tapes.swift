import Base
import Kernels
import Models
import Paging
import PinnedMemory

/// Where activations wait between the sweeps that the model has no memory for.
struct ActivationScratches: Sendable {
  var boundaries: ScratchID?
  var tapes: TapeLeaves?
}

/// Which leaf of a scratch is the tape of which sublayer, in forward order.
struct TapeLeaves: Sendable {
  let scratch: ScratchID
  private let first: [Int?]

  /// - Parameter layers: those that keep their tapes there.
  init(_ model: ModelDescription, _ layers: Range<Int>, in scratch: ScratchID) {
    self.scratch = scratch
    var next = 0
    first = model.layers.enumerated().map { number, layer in
      guard layers.contains(number) else { return nil }
      defer { next += layer.sublayers.count }
      return next
    }
  }

  fileprivate func leaf(
    of sublayer: Sublayer, _ layer: LayerDescription, _ model: Transformer
  ) -> Leaf? {
    guard let first = first[model.description.number(of: layer)],
      let index = layer.sublayers.firstIndex(of: sublayer)
    else { return nil }
    return Leaf(
      number: first + index, scratch: scratch,
      byteCount: max(1, model.tapeByteCount(layer, sublayer)))
  }

  fileprivate struct Leaf {
    let number: Int
    let scratch: ScratchID
    let byteCount: Int
  }
}

/// Tapes of sublayers in frames of a scratch: filled and used where they are, written behind the forward
/// sweep and read ahead of the backward sweep.
extension Pager {
  /// Runs `body`, a sublayer of the forward sweep, and sends what it keeps to the disk behind it.
  /// - Throws: what `body` throws, and `StorageError.scratch`.
  mutating func keepingTape(
    of sublayer: Sublayer, _ layer: LayerDescription, _ tapes: TapeLeaves?, _ model: Transformer,
    _ body: (inout Pager) throws -> Void
  ) throws {
    guard model.mode == .training, let leaf = tapes?.leaf(of: sublayer, layer, model) else {
      return try body(&self)
    }
    let memory = try holdEmpty(leaf.number, of: leaf.scratch, byteCount: leaf.byteCount)
    try lend(memory, to: sublayer, layer, model, body)
    writeHeld(leaf.number, of: leaf.scratch)
  }

  /// Runs `body`, a sublayer of the backward sweep, beside what the forward sweep kept of it.
  /// - Throws: what `body` throws, and `StorageError.scratch`.
  mutating func usingTape(
    of sublayer: Sublayer, _ layer: LayerDescription, _ tapes: TapeLeaves?, _ model: Transformer,
    _ body: (inout Pager) throws -> Void
  ) throws {
    guard let leaf = tapes?.leaf(of: sublayer, layer, model) else { return try body(&self) }
    let memory = try holdWritten(leaf.number, of: leaf.scratch, byteCount: leaf.byteCount)
    try lend(memory, to: sublayer, layer, model, body)
    letGo(leaf.number, of: leaf.scratch)
  }

  /// Runs `body` while the tape of the sublayer is `memory`, of a frame that is held until then.
  private mutating func lend(
    _ memory: PinnedSlice, to sublayer: Sublayer, _ layer: LayerDescription, _ model: Transformer,
    _ body: (inout Pager) throws -> Void
  ) throws {
    unsafe model.lend(FloatBuffer(borrowing: memory.bytes), to: sublayer, of: layer)
    defer { model.endLoan() }
    try body(&self)
  }
}
