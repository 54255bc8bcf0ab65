import Base
import Kernels
import Models
import Optimizers
import Paging
import Storage

/// Dense parameters in and out of pages.
extension DenseBlocks {
  var isStrip: Bool { record.format != RecordFormat() }

  /// Overwrites all planes of a page with the parameters `range`; moments that nobody has are zero.
  func fill(_ page: inout Page, from dense: DenseParameters, _ range: Range<Int>) {
    let states = dense.hasMoments ? ParameterState.allCases : [.weights]
    if isStrip || !dense.hasMoments { clear(&page) }
    for state in states {
      let floats = dense.vector(state).matrix(
        rows: 1, columns: range.count, offset: range.lowerBound)
      set(state, of: &page, to: floats)
    }
  }

  /// Makes all planes of a page zero.
  func clear(_ page: inout Page) {
    for plane in record.planes.planes {
      var bytes = page.bytes(plane)
      bytes.update(repeating: 0)
    }
  }

  /// Overwrites what a page has of one state with `floats`, [1, parametersPerBlock]. Of a strip the
  /// bytes of nobody stay.
  func set(_ state: ParameterState, of page: inout Page, to floats: Matrix) {
    guard isStrip else {
      var spans = page.spans
      switch state {
      case .weights: splitMaster(floats, hi: &spans.hi, lo: &spans.lo)
      case .firstMoment: StatePrecision.fp32.encode(.first, floats, into: &spans.m)
      case .secondMoment: StatePrecision.fp32.encode(.second, floats, into: &spans.v)
      }
      return
    }
    for piece in strip(0..<parametersPerBlock) {
      var target = self.floats(piece.place(of: state), &page)
      floats.columns(piece.parameters).copy(into: &target)
    }
  }

  /// What a page has of one state, into `floats`, [1, parametersPerBlock].
  /// - Parameter sums: where the workers take the checksums of the weights that they read on the way; a
  ///   strip's are left.
  func read(
    _ state: ParameterState, of page: borrowing Page, into floats: Matrix, on workers: Workers,
    sums: PieceSums? = nil
  ) {
    guard isStrip else {
      switch state {
      case .weights:
        joinMaster(
          hi: page.hi, lo: page.lo, into: SpacedFloats(floats), on: workers,
          before: { sums?.take($0, isLast: $0.upperBound == floats.columns) })
      case .firstMoment: StatePrecision.fp32.decode(.first, page.m, into: floats)
      case .secondMoment: StatePrecision.fp32.decode(.second, page.v, into: floats)
      }
      return
    }
    for piece in strip(0..<parametersPerBlock) {
      copy(piece.place(of: state), page, into: floats.columns(piece.parameters), on: workers)
    }
  }

  func readWeights(
    _ page: borrowing Page, into dense: DenseParameters, _ block: Int, on workers: Workers,
    sums: PieceSums? = nil
  ) {
    read(.weights, of: page, into: dense.flat(\.weights, range(block)), on: workers, sums: sums)
  }

  /// Weights, and moments when `dense` has them.
  func read(
    _ page: borrowing Page, into dense: DenseParameters, _ block: Int, on workers: Workers
  ) {
    let states = dense.hasMoments ? ParameterState.allCases : [.weights]
    for state in states {
      let floats = dense.vector(state).matrix(
        rows: 1, columns: parametersPerBlock, offset: range(block).lowerBound)
      read(state, of: page, into: floats, on: workers)
    }
  }

  /// Updates `parts` of a page, whose gradient is all of `gradient`.
  /// - Parameter sums: where the workers take the checksums of what was read, before they change it;
  ///   nil where nobody wants them.
  func update(
    _ page: inout Page, _ parts: [DensePart], gradient: Span<Float>, on workers: Workers,
    sums read: PieceSums?
  ) {
    precondition(!isStrip || read == nil, "a strip's checksums are taken before")
    guard isStrip else {
      let parts = parts.map { part in
        guard case .adamW(let step) = part.step else {
          preconditionFailure("factors are kept in strips")
        }
        return AdamWPart(part.elements, step)
      }
      var spans = page.spans
      let (count, written) = (gradient.count, spans.sums)
      var m = Fence(&spans.m).mutable(Float.self, at: 0, count: count)
      var v = Fence(&spans.v).mutable(Float.self, at: 0, count: count)
      return updateParts(
        parts, hi: &spans.hi, lo: &spans.lo, m: &m, v: &v, gradient: gradient, on: workers,
        before: { read?.take($0, isLast: $0.upperBound == count) },
        changed: { written?.take($0, isLast: $0.upperBound == count) })
    }
    for part in parts {
      for piece in strip(part.elements) {
        update(&page, piece, part, gradient: gradient.extracting(piece.parameters), on: workers)
      }
    }
  }

  private func update(
    _ page: inout Page, _ piece: Piece, _ part: DensePart, gradient: Span<Float>,
    on workers: Workers
  ) {
    var weights = floats(piece.place(of: .weights), &page)
    switch part.step {
    case .adamW(let step):
      var m = floats(piece.place(of: .firstMoment), &page)
      var v = floats(piece.place(of: .secondMoment), &page)
      step.update(weights: &weights, m: &m, v: &v, gradient: gradient, on: workers)
    case .adafactor(let step):
      step.update(
        weights: &weights, gradient: gradient,
        from: part.first + piece.parameters.lowerBound - part.elements.lowerBound, on: workers)
    }
  }

  /// Overwrites what a page, that of the parameters `range`, has of the factors.
  func setFactors(of page: inout Page, from dense: DenseParameters, _ range: Range<Int>) {
    let part = factors.clamped(to: range)
    guard !part.isEmpty else { return }
    let first = part.lowerBound - range.lowerBound
    for piece in strip(first..<first + part.count) {
      var target = floats(piece.place(of: .weights), &page)
      let start = range.lowerBound + piece.parameters.lowerBound
      dense.flat(\.weights, start..<start + piece.parameters.count).copy(into: &target)
    }
  }
}

/// A part of a tensor that lies in a block.
struct DensePart: Sendable {
  /// Counted from the block's first.
  let elements: Range<Int>
  /// The number of the first of them in the tensor.
  let first: Int
  let step: DenseStep
}

extension DenseParameters {
  func vector(_ state: ParameterState) -> FloatBuffer {
    switch state {
    case .weights: weights
    case .firstMoment: firstMoments
    case .secondMoment: secondMoments
    }
  }
}

// MARK: A strip of floats

extension DenseBlocks {
  /// Some floats of one plane.
  struct Place {
    let plane: Plane
    let byteOffset: Int
    let count: Int
  }

  /// Parameters of a block whose states are each in one plane.
  struct Piece {
    /// Counted from the block's first.
    let parameters: Range<Int>
    /// Of weights and, where there are any, of m and of v.
    fileprivate let places: [Place]

    func place(of state: ParameterState) -> Place {
      switch state {
      case .weights: places[0]
      case .firstMoment: places[1]
      case .secondMoment: places[2]
      }
    }
  }

  /// The pieces of some parameters of a block: cut wherever one of their states passes from a plane to
  /// the next.
  func strip(_ parameters: Range<Int>) -> [Piece] {
    var (pieces, first): ([Piece], Int) = ([], parameters.lowerBound)
    while first < parameters.upperBound {
      let most = parameters.upperBound - first
      let starts = states.indices.map { $0 * parametersPerBlock + first }
      let count = starts.map { place($0, most: most).count }.min() ?? most
      pieces.append(
        Piece(
          parameters: first..<first + count, places: starts.map { place($0, most: count) }))
      first += count
    }
    return pieces
  }

  /// Where float `index` of the strip is, with as many as follow it there.
  private func place(_ index: Int, most: Int) -> Place {
    var start = 0
    for plane in Plane.allCases {
      let end = start + record.contentBytes[plane] / 4
      if index < end {
        return Place(
          plane: plane, byteOffset: 4 * (index - start), count: min(most, end - index))
      }
      start = end
    }
    preconditionFailure("the strip has room for all states")
  }

  /// The floats of a place in a page that the caller holds alone. No two places overlap.
  @_lifetime(immortal)
  private func floats(_ place: Place, _ page: inout Page) -> MutableSpan<Float> {
    var bytes = page.bytes(place.plane)
    return Fence(&bytes).mutable(Float.self, at: place.byteOffset, count: place.count)
  }

  private func copy(
    _ place: Place, _ page: borrowing Page, into target: Matrix, on workers: Workers
  ) {
    let bytes = Fence(page.readBytes(place.plane))
    workers.forEachChunk(of: place.count, size: Self.floatsPerTask) { range in
      let floats = bytes.mutable(
        Float.self, at: place.byteOffset + range.lowerBound * MemoryLayout<Float>.stride,
        count: range.count)
      target.columns(range).copy(from: floats.span)
    }
  }

  /// 64 KiB: enough work for a worker to be woken for.
  private static let floatsPerTask = 16384
}
