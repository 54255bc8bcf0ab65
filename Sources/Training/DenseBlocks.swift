import Base
import Kernels
import Models
import Paging
import Storage
import Tracing

/// The dense parameters as blocks of the store: the flat vector is cut into equal ranges, so that one
/// kind of record, and one kind of slot, serves all. They are fp32 in every format: norms, gates and
/// embeddings are few, and every token passes through them.
///
/// In records of full precision a block has as many parameters as one of an expert, in the planes of
/// these names. In others it has as many as there is room for in a strip of floats, which the planes
/// are one after another: all its weights, then m, then v. Where second moments are factored they lie
/// behind the weights of all tensors, as if they were weights, and the strip is `hi` and `lo`.
struct DenseBlocks: Sendable {
  let record: RecordGeometry
  /// Floats of the vector of weights: parameters, and the factors of their second moments.
  let parameters: Int
  /// Where the factors lie.
  let factors: Range<Int>
  let parametersPerBlock: Int

  init(record: RecordGeometry, layout: DenseLayout) {
    self.record = record
    let isFactored = record.format.factors != nil
    factors = layout.count..<layout.count + (isFactored ? layout.factorCount : 0)
    parameters = factors.upperBound
    let planes = isFactored ? [Plane.hi, .lo] : Plane.allCases
    let floats = planes.reduce(0) { $0 + record.contentBytes[$1] / 4 }
    parametersPerBlock =
      record.format == RecordFormat() ? record.parameters : floats / (isFactored ? 1 : 3)
  }

  /// Whether there is an m and a v of each parameter.
  var hasMoments: Bool { record.format.factors == nil }

  /// What there is of each parameter.
  var states: [ParameterState] { hasMoments ? ParameterState.allCases : [.weights] }

  /// The last block is filled up with zeros, and so is the vector (`paddedCount`).
  var count: Int { (parameters + parametersPerBlock - 1) / parametersPerBlock }

  var paddedCount: Int { count * parametersPerBlock }

  /// Where a block lies in the vector.
  func range(_ block: Int) -> Range<Int> {
    block * parametersPerBlock..<(block + 1) * parametersPerBlock
  }

  /// The blocks that have a part of `range`.
  func blocks(of range: Range<Int>) -> Range<Int> {
    range.isEmpty
      ? 0..<0
      : range.lowerBound / parametersPerBlock..<(range.upperBound - 1) / parametersPerBlock + 1
  }

  /// Their names.
  var blocks: [BlockID] { (0..<count).map { .dense($0) } }

  /// The planes that have weights.
  var weightPlanes: PlaneSet {
    isStrip
      ? PlaneSet(
        strip(0..<parametersPerBlock).map { PlaneSet($0.place(of: .weights).plane) }) : [.hi, .lo]
  }

  /// Writes weights and moments of block `block`, as of `step`, into the frozen generation.
  func save(
    _ block: Int, of dense: DenseParameters, _ pager: inout Pager, step: Int
  ) throws {
    var page = try pager.blank(.dense(block))
    fill(&page, from: dense, range(block))
    pager.writeBackLate(page, step: step)
  }

  /// Reads weights, and moments when `dense` has them, of the newest generation.
  func load(_ dense: DenseParameters, _ pager: inout Pager, on workers: Workers) throws {
    let planes = dense.hasMoments ? .all : weightPlanes
    pager.plan((0..<count).map { Visit(.dense($0), planes) })
    for block in 0..<count {
      let page = try next(block, &pager)
      read(page, into: dense, block, on: workers)
      pager.keep(page)
    }
  }

  /// The page of `block`, which was planned next.
  /// - Throws: `TrainingError.damagedState` when it was never written; `StorageError`.
  func next(_ block: Int, _ pager: inout Pager) throws -> Page {
    let page = try pager.next()
    precondition(page.block == .dense(block), "blocks come as planned")
    guard page.virgin.isEmpty else {
      throw TrainingError.damagedState(cause: "\(page.block) was never written")
    }
    return page
  }
}

/// The dense parameters of a frozen generation on their way to the disk: some blocks after each
/// layer of the forward sweep, so that nobody waits for them.
struct UnsavedDense {
  private let dense: DenseBlocks
  private var blocks = 0..<0
  private var step = 0

  init(_ dense: DenseBlocks) { self.dense = dense }

  var isEmpty: Bool { blocks.isEmpty }

  /// The parameters as they are now, after `step`, are frozen.
  mutating func freeze(step: Int) { (blocks, self.step) = (0..<dense.count, step) }

  /// Saves so many blocks that a sweep over `layers` saves all.
  mutating func saveSome(
    _ parameters: DenseParameters, _ pager: inout Pager, layers: Int
  ) throws {
    let share = (dense.count + layers - 1) / layers
    for block in blocks.prefix(share) {
      let span = pager.trace.begin(.denseSave)
      try dense.save(block, of: parameters, &pager, step: step)
      span.end()
      blocks.removeFirst()
    }
  }

  mutating func saveRest(_ parameters: DenseParameters, _ pager: inout Pager) throws {
    try saveSome(parameters, &pager, layers: 1)
  }
}
