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
    guard !isStrip else { return fillStrip(&page, from: dense, range) }
    var spans = page.spans
    splitMaster(dense.flat(\.weights, range), hi: &spans.hi, lo: &spans.lo)
    guard dense.hasMoments else {
      spans.m.update(repeating: 0)
      return spans.v.update(repeating: 0)
    }
    StatePrecision.fp32.encode(.first, dense.flat(\.firstMoments, range), into: &spans.m)
    StatePrecision.fp32.encode(.second, dense.flat(\.secondMoments, range), into: &spans.v)
  }

  func readWeights(_ page: borrowing Page, into dense: DenseParameters, _ block: Int) {
    let range = range(block)
    guard isStrip else {
      return joinMaster(hi: page.hi, lo: page.lo, into: dense.flat(\.weights, range), on: .inline)
    }
    for piece in strip(0..<parametersPerBlock) {
      copy(piece.weights, page, into: dense.flat(\.weights, piece.range(in: range)))
    }
  }

  /// Weights, and moments when `dense` has them.
  func read(_ page: borrowing Page, into dense: DenseParameters, _ block: Int) {
    readWeights(page, into: dense, block)
    guard dense.hasMoments else { return }
    let range = range(block)
    guard isStrip else {
      StatePrecision.fp32.decode(.first, page.m, into: dense.flat(\.firstMoments, range))
      StatePrecision.fp32.decode(.second, page.v, into: dense.flat(\.secondMoments, range))
      return
    }
    for piece in strip(0..<parametersPerBlock) {
      copy(piece.firstMoments, page, into: dense.flat(\.firstMoments, piece.range(in: range)))
      copy(piece.secondMoments, page, into: dense.flat(\.secondMoments, piece.range(in: range)))
    }
  }

  /// AdamW on the parameters `elements` of a page, counted from its first one, which `gradient` has
  /// all of.
  func update(
    _ page: inout Page, _ elements: Range<Int>, _ step: AdamWStep, gradient: Span<Float>,
    on workers: Workers
  ) {
    guard isStrip else {
      var spans = page.spans
      var m = Fence(&spans.m).mutable(Float.self, at: 0, count: gradient.count)
      var v = Fence(&spans.v).mutable(Float.self, at: 0, count: gradient.count)
      return step.update(
        hi: &spans.hi, lo: &spans.lo, m: &m, v: &v, gradient: gradient, elements: elements,
        on: workers)
    }
    for piece in strip(elements) {
      var weights = floats(piece.weights, &page)
      var m = floats(piece.firstMoments, &page)
      var v = floats(piece.secondMoments, &page)
      step.update(
        weights: &weights, m: &m, v: &v, gradient: gradient.extracting(piece.parameters),
        on: workers)
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

  /// Parameters of a block whose weights, m and v are each in one plane.
  struct Piece {
    /// Counted from the block's first.
    let parameters: Range<Int>
    let weights: Place
    let firstMoments: Place
    let secondMoments: Place

    /// In the flat vector, of which the block has `block`.
    func range(in block: Range<Int>) -> Range<Int> {
      block.lowerBound + parameters.lowerBound..<block.lowerBound + parameters.upperBound
    }
  }

  /// The pieces of some parameters of a block: cut wherever one of the three passes from a plane to the
  /// next.
  func strip(_ parameters: Range<Int>) -> [Piece] {
    var (pieces, first): ([Piece], Int) = ([], parameters.lowerBound)
    while first < parameters.upperBound {
      let most = parameters.upperBound - first
      let starts = [first, parametersPerBlock + first, 2 * parametersPerBlock + first]
      let count = starts.map { place($0, most: most).count }.min() ?? most
      pieces.append(
        Piece(
          parameters: first..<first + count, weights: place(starts[0], most: count),
          firstMoments: place(starts[1], most: count),
          secondMoments: place(starts[2], most: count)))
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
    preconditionFailure("the strip has room for three floats of each parameter")
  }

  private func fillStrip(_ page: inout Page, from dense: DenseParameters, _ range: Range<Int>) {
    for plane in record.planes.planes {
      var bytes = page.bytes(plane)
      bytes.update(repeating: 0)
    }
    for piece in strip(0..<parametersPerBlock) {
      let own = piece.range(in: range)
      var weights = floats(piece.weights, &page)
      dense.flat(\.weights, own).copy(into: &weights)
      guard dense.hasMoments else { continue }
      var m = floats(piece.firstMoments, &page)
      var v = floats(piece.secondMoments, &page)
      dense.flat(\.firstMoments, own).copy(into: &m)
      dense.flat(\.secondMoments, own).copy(into: &v)
    }
  }

  /// The floats of a place in a page that the caller holds alone. No two places overlap.
  @_lifetime(immortal)
  private func floats(_ place: Place, _ page: inout Page) -> MutableSpan<Float> {
    var bytes = page.bytes(place.plane)
    return Fence(&bytes).mutable(Float.self, at: place.byteOffset, count: place.count)
  }

  private func copy(_ place: Place, _ page: borrowing Page, into target: Matrix) {
    let floats = Fence(page.readBytes(place.plane)).mutable(
      Float.self, at: place.byteOffset, count: place.count)
    target.copy(from: floats.span)
  }
}
