import Base
import Kernels
import Models
import Paging
import Storage

/// The dense parameters as blocks of the store: the flat vector is cut into ranges of the experts'
/// size, so that one kind of record, and one kind of slot, serves all.
struct DenseBlocks: Sendable {
  let parametersPerBlock: Int
  let parameters: Int

  /// The last block is filled up with zeros, and so is the vector (`paddedCount`).
  var count: Int { (parameters + parametersPerBlock - 1) / parametersPerBlock }

  var paddedCount: Int { count * parametersPerBlock }

  private func range(_ block: Int) -> Range<Int> {
    block * parametersPerBlock..<(block + 1) * parametersPerBlock
  }

  /// Writes weights and moments of `step` into the open generation.
  func save(_ dense: DenseParameters, _ pager: inout Pager, step: Int) throws {
    for block in 0..<count {
      var page = try pager.blank(.dense(block))
      fill(&page, from: dense, range(block))
      pager.writeBack(page, step: step, tokens: 0)
    }
  }

  /// Reads weights, and moments when `dense` has them, of the newest generation.
  func load(_ dense: DenseParameters, _ pager: inout Pager) throws {
    let planes: PlaneSet = dense.isTraining ? .all : [.hi, .lo]
    pager.plan((0..<count).map { Visit(.dense($0), planes) })
    for block in 0..<count {
      let page = try pager.next()
      guard page.virgin.isEmpty else {
        throw TrainingError.damagedState(cause: "\(page.block) was never written")
      }
      read(page, into: dense, range(block))
      pager.keep(page)
    }
  }

  private func fill(_ page: inout Page, from dense: DenseParameters, _ range: Range<Int>) {
    var spans = page.spans
    splitMaster(dense.flat(\.weights, range), hi: &spans.hi, lo: &spans.lo)
    dense.flat(\.firstMoments, range).copy(into: &spans.m)
    dense.flat(\.secondMoments, range).copy(into: &spans.v)
  }

  private func read(_ page: borrowing Page, into dense: DenseParameters, _ range: Range<Int>) {
    joinMaster(hi: page.hi, lo: page.lo, into: dense.flat(\.weights, range), on: .inline)
    guard dense.isTraining else { return }
    dense.flat(\.firstMoments, range).copy(from: page.m)
    dense.flat(\.secondMoments, range).copy(from: page.v)
  }
}
