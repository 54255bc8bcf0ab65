import Base
package import Kernels
package import Optimizers

/// A tensor of a checkpoint that is some rows of a slot.
package struct TensorPart: Sendable, Equatable {
  package let name: String
  package let rows: Range<Int>
  /// Whether the checkpoint has it the other way round, [columns, rows].
  package let isTransposed: Bool
}

/// One tensor inside the flat vector of dense parameters.
package struct TensorSlot: Sendable, Equatable {
  package enum Initial: Sendable, Equatable {
    case zeros
    case ones
    /// Uniform in [-bound, bound).
    case uniform(bound: Float)
  }
  /// What it is of checkpoints: usually one tensor of its shape.
  package let parts: [TensorPart]
  /// Floats from the start of the vector.
  package let offset: Int
  package let rows: Int
  package let columns: Int
  /// Whether weight decay applies: to matrices, not to norms and biases.
  package let decays: Bool
  package let initial: Initial

  package var count: Int { rows * columns }
  package var range: Range<Int> { offset..<offset + count }
  /// The tensors of its parts as their second moments are factored, each by itself.
  package var factored: [FactoredTensor] {
    // Vectors are behind each other, matrices below each other.
    let isVector = parts.last.map { $0.rows.upperBound != rows } ?? false
    return parts.map { part in
      FactoredTensor(
        offset: part.rows.lowerBound * (isVector ? 1 : columns),
        rows: isVector ? 1 : part.rows.count,
        columns: isVector ? part.rows.count : columns, decays: decays)
    }
  }
  /// Floats of those second moments.
  package var factorCount: Int { factored.reduce(0) { $0 + $1.factorCount } }
}

/// Where each dense tensor lies: filled once while a model is described, then fixed.
package struct DenseLayout: Sendable {
  package private(set) var slots: [TensorSlot] = []
  package private(set) var count = 0
  /// Floats of the second moments of all tensors where they are factored.
  package private(set) var factorCount = 0

  package init() {}

  /// Where the factors of tensor `number` lie: behind all parameters, one tensor's after another's.
  package func factors(of number: Int) -> Range<Int> {
    let first = slots[..<number].reduce(count) { $0 + $1.factorCount }
    return first..<first + slots[number].factorCount
  }

  /// Appends a matrix [rows, columns], initialised uniformly (Glorot and Bengio 2010: a bound of
  /// sqrt(6 / (rows + columns))) unless said otherwise.
  /// - Parameter isTransposed: whether checkpoints have it the other way round.
  package mutating func matrix(
    _ name: String, _ rows: Int, _ columns: Int, bound: Float? = nil, isTransposed: Bool = false
  ) -> TensorSlot {
    let glorot = (6 / Float(rows + columns)).squareRoot()
    let part = TensorPart(name: name, rows: 0..<rows, isTransposed: isTransposed)
    return append([part], rows, columns, decays: true, .uniform(bound: bound ?? glorot))
  }

  /// Appends matrices of `columns` columns below each other: one product serves all. Each is
  /// initialised as if it stood alone.
  package mutating func stacked(
    _ parts: [(name: String, rows: Int)], _ columns: Int, bound: Float
  ) -> TensorSlot {
    append(
      Self.below(parts), parts.reduce(0) { $0 + $1.rows }, columns, decays: true,
      .uniform(bound: bound))
  }

  /// Appends vectors behind each other, as one row of zeros: biases.
  package mutating func vector(_ parts: [(name: String, rows: Int)]) -> TensorSlot {
    let count = parts.reduce(0) { $0 + $1.rows }
    return append(Self.below(parts), 1, count, decays: false, .zeros)
  }

  /// Appends the gain of a norm, ones.
  package mutating func gain(_ name: String, _ width: Int) -> TensorSlot {
    let part = TensorPart(name: name, rows: 0..<width, isTransposed: false)
    return append([part], 1, width, decays: false, .ones)
  }

  private static func below(_ parts: [(name: String, rows: Int)]) -> [TensorPart] {
    var next = 0
    return parts.map { part in
      defer { next += part.rows }
      return TensorPart(name: part.name, rows: next..<next + part.rows, isTransposed: false)
    }
  }

  private mutating func append(
    _ parts: [TensorPart], _ rows: Int, _ columns: Int, decays: Bool, _ initial: TensorSlot.Initial
  ) -> TensorSlot {
    let slot = TensorSlot(
      parts: parts, offset: count, rows: rows, columns: columns, decays: decays, initial: initial)
    slots.append(slot)
    count += slot.count
    factorCount += slot.factorCount
    return slot
  }
}

/// The dense parameters: one flat vector each for weights, gradients and, where they are not left on
/// the disk, the two moments. The store keeps them as blocks of the experts' size. Factored second moments
/// are few and go where the weights go: they lie behind them (`DenseLayout.factors`).
package final class DenseParameters: Sendable {
  package let layout: DenseLayout
  package let weights: FloatBuffer
  package let gradients: FloatBuffer
  package let firstMoments: FloatBuffer
  package let secondMoments: FloatBuffer

  /// Bytes for `count` parameters that are all in memory: 16 each for training, or 8 without moments, and 4
  /// for inference.
  package static func byteCount(count: Int, training: Bool, moments: Bool? = nil) -> Int {
    let vectors = 1 + (training ? 1 : 0) + (moments ?? training ? 2 : 0)
    return count * MemoryLayout<Float>.stride * vectors
  }

  /// All zeros; `initialise` or a store fills them.
  /// - Parameters:
  ///   - count: floats of each vector, at least those of `layout`.
  ///   - training: whether there are gradients.
  ///   - moments: whether the moments are in memory; if not given, when training.
  package init(_ layout: DenseLayout, count: Int, training: Bool, moments: Bool? = nil) {
    precondition(count >= layout.count, "the vector holds the layout")
    self.layout = layout
    weights = FloatBuffer(count: count)
    gradients = FloatBuffer(count: training ? count : 0)
    let momentCount = moments ?? training ? count : 0
    firstMoments = FloatBuffer(count: momentCount)
    secondMoments = FloatBuffer(count: momentCount)
  }

  package var isTraining: Bool { gradients.count > 0 }
  package var hasMoments: Bool { firstMoments.count > 0 }

  package func weights(_ slot: TensorSlot) -> Matrix { view(weights, slot) }
  package func gradient(_ slot: TensorSlot) -> Matrix { view(gradients, slot) }

  /// Fills the weights from `seed`: tensor number n is the stream of dense block n.
  package func initialise(seed: UInt64) {
    initialise(0..<layout.count, seed: seed)
  }

  /// The same of those weights alone that lie in `range`.
  package func initialise(_ range: Range<Int>, seed: UInt64) {
    for (number, slot) in layout.slots.enumerated() where slot.range.overlaps(range) {
      let part = slot.range.clamped(to: range)
      let target = flat(\.weights, part)
      switch slot.initial {
      case .zeros: target.fill(0)
      case .ones: target.fill(1)
      case .uniform(let bound):
        UniformFill(seed: seed, block: .dense(number), bound: bound)
          .fill(target, first: part.lowerBound - slot.offset)
      }
    }
  }

  /// One optimizer step on the tensor `slot`, in place on weights and moments. Its gradient is zero then.
  package func update(_ slot: TensorSlot, with step: AdamWStep, on workers: Workers) {
    step.update(
      weights: flat(\.weights, slot.range), m: flat(\.firstMoments, slot.range),
      v: flat(\.secondMoments, slot.range), gradient: flat(\.gradients, slot.range), on: workers)
  }

  /// The same with factored second moments, which have been advanced.
  package func update(_ slot: TensorSlot, with step: FactoredStep, on workers: Workers) {
    step.update(
      weights: flat(\.weights, slot.range), gradient: flat(\.gradients, slot.range), on: workers)
  }

  /// The factored second moments of tensor `number`, of its parts one after another, as one row.
  package func factors(_ number: Int) -> Matrix { flat(\.weights, layout.factors(of: number)) }

  package func clearGradients(on workers: Workers) {
    for slot in layout.slots { gradient(slot).fill(0, on: workers) }
  }

  /// A range of one of the vectors as a matrix of one row.
  package func flat(
    _ vector: KeyPath<DenseParameters, FloatBuffer>, _ range: Range<Int>
  ) -> Matrix {
    self[keyPath: vector].matrix(rows: 1, columns: range.count, offset: range.lowerBound)
  }

  private func view(_ buffer: FloatBuffer, _ slot: TensorSlot) -> Matrix {
    buffer.matrix(rows: slot.rows, columns: slot.columns, offset: slot.offset)
  }
}
