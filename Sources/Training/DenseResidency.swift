import Base
import Kernels
import Models
import Optimizers
import Paging
import Storage

/// How much of the dense part is in memory, and what a sweep does about it.
///
/// Resident: all of it with its moments, updated after the backward sweep, saved beside the forward
/// sweep after a freeze.
///
/// Paged: the flat vectors of weights and gradients are address space of which only parts have
/// memory: what belongs to no layer always (the ends: embeddings, head, final norms, tables of
/// positions), the weights of a layer while a sweep is in it, its gradients during its backward. The
/// optimizer works on pages as it does for experts: a block is updated when the backward sweep has
/// left the last layer that has a part of it, and those of the ends last.
struct DenseResidency {
  private let parameters: DenseParameters
  private let map: DenseMap
  let isPaged: Bool
  /// Of paged weights, by block: whether they are in memory.
  private var isLoaded: [Bool]
  /// Memory of paged weights, and of their gradients.
  private var weightMemory = BlockMemory()
  private var gradientMemory = BlockMemory()
  /// Sum of squares of each tensor's gradient, as far as the backward sweep has come.
  private var squares: [Double]
  /// What updates each tensor, as far as it is known.
  private var steps: [DenseStep?]

  /// Nothing is in memory yet: `load` or `initialise` comes next.
  init(
    _ parameters: DenseParameters, _ description: ModelDescription, _ blocks: DenseBlocks,
    isPaged: Bool
  ) {
    self.parameters = parameters
    self.isPaged = isPaged
    map = DenseMap(description, blocks)
    isLoaded = Array(repeating: false, count: blocks.count)
    squares = Array(repeating: 0, count: parameters.layout.slots.count)
    steps = Array(repeating: nil, count: squares.count)
    if isPaged {
      parameters.weights.keepSmallPages()
      parameters.gradients.keepSmallPages()
    }
  }

  var blocks: DenseBlocks { map.blocks }

  /// What a freeze leaves to be saved beside the next step.
  var lateBlocks: [BlockID] { isPaged ? [] : blocks.blocks }

  // MARK: The beginning of a run

  /// Takes the newest generation; of a paged part only the ends.
  /// - Throws: `StorageError`; `TrainingError.damagedState` for a block that was never written.
  mutating func load(_ pager: inout Pager, on workers: Workers) throws {
    guard isPaged else { return try blocks.load(parameters, &pager, on: workers) }
    pager.plan(visits(map.ends))
    for block in map.ends { try load(block, &pager, on: workers) }
  }

  /// Starts from the seed. A paged part goes to the disk, a block at a time.
  mutating func initialise(
    seed: UInt64, _ pager: inout Pager, on workers: Workers
  ) throws {
    guard isPaged else { return parameters.initialise(seed: seed) }
    for block in 0..<blocks.count {
      let range = blocks.range(block)
      weightMemory.give(to: range, of: parameters.weights, on: workers)
      let used = range.clamped(to: 0..<parameters.layout.count)
      parameters.initialise(used, seed: seed)
      let filled = max(range.lowerBound, used.upperBound)
      parameters.weights.clear(filled..<range.upperBound, on: workers)
      var page = try pager.blank(.dense(block))
      blocks.fill(&page, from: parameters, range)
      pager.writeBack(page, step: 0, tokens: 0)
      isLoaded[block] = true
      if !map.isEnd[block] { release(block) }
    }
  }

  // MARK: Forward

  /// Plans the weights of the layer after `layer`, or of the first one, as far as they are not here.
  func visits(after layer: Int?) -> [Visit] {
    let next = layer.map { $0 + 1 } ?? 0
    guard isPaged, next < map.layers.count else { return [] }
    return visits(map.layers[next].filter { !isLoaded[$0] })
  }

  /// Takes what was planned for `layer`, so that its weights are in memory.
  mutating func enter(_ layer: Int, _ pager: inout Pager, on workers: Workers) throws {
    guard isPaged else { return }
    for block in map.layers[layer] where !isLoaded[block] {
      try load(block, &pager, on: workers)
    }
  }

  /// Lets go of what the next layer does not need. The last layer stays for the backward sweep.
  mutating func leave(_ layer: Int) {
    guard isPaged, layer + 1 < map.layers.count else { return }
    for block in map.layers[layer] where !map.layers[layer + 1].contains(block) {
      if !map.isEnd[block] { release(block) }
    }
  }

  // MARK: Backward

  /// The visits of a whole backward sweep, which has `experts` of each layer between its own.
  func backwardVisits(isUpdate: Bool, experts: (_ layer: Int) -> [Visit]) -> [Visit] {
    var isHere = isLoaded
    var all: [Visit] = []
    for layer in map.layers.indices.reversed() {
      if isPaged {
        all += visits(map.layers[layer].filter { !isHere[$0] })
        for block in map.layers[layer] { isHere[block] = true }
      }
      all += experts(layer)
      if isPaged {
        if isUpdate { all += map.finished(by: layer).map { visit($0, .all) } }
        for block in map.finished(by: layer) { isHere[block] = false }
      }
    }
    return isPaged && isUpdate ? all + map.ends.map { visit($0, .all) } : all
  }

  /// Takes what was planned for `layer`, and makes room for its gradients.
  mutating func enterBackward(
    _ layer: Int, _ pager: inout Pager, on workers: Workers
  ) throws {
    try enter(layer, &pager, on: workers)
    guard isPaged else { return }
    for block in map.layers[layer] {
      let range = blocks.range(block)
      if map.isEnd[block] {
        // It may have the gradients of the head already.
        parameters.gradients.populate(range, on: workers)
      } else {
        gradientMemory.give(to: range, of: parameters.gradients, on: workers)
      }
    }
  }

  /// After the backward of `layer`: its gradients are complete.
  mutating func finish(
    _ layer: Int, _ use: GradientUse, _ pager: inout Pager, on workers: Workers,
    _ meter: inout StepMeter
  ) throws {
    guard isPaged else { return }
    try meter.update { _ in
      add(map.slots[layer], on: workers)
      if case .update(let update) = use {
        try prepare(map.slots[layer], update, on: workers)
      }
    }
    for block in map.finished(by: layer) {
      if case .update(let update) = use {
        try self.update(block, update, &pager, on: workers, &meter)
      }
      release(block)
      parameters.gradients.clear(blocks.range(block), on: workers)
      gradientMemory.take(blocks.range(block))
    }
  }

  /// After the backward sweep: what is not updated yet. The gradients are zero then.
  mutating func finish(
    _ update: BlockUpdate, _ pager: inout Pager, on workers: Workers, _ meter: inout StepMeter
  ) throws {
    let slots = isPaged ? map.endSlots : Array(squares.indices)
    add(slots, on: workers)
    try prepare(slots, update, on: workers)
    if isPaged {
      for block in map.ends {
        try self.update(block, update, &pager, on: workers, &meter)
        parameters.gradients.discard(blocks.range(block))
      }
    } else {
      for (slot, step) in zip(parameters.layout.slots, steps) {
        switch step {
        case .adamW(let step): parameters.update(slot, with: step, on: workers)
        case .adafactor(let step): parameters.update(slot, with: step, on: workers)
        case nil: preconditionFailure("all are prepared")
        }
      }
    }
    for squares in squares { meter.gradientSquares += squares }
  }

  /// After a backward sweep that only observed: the sum of squares of all gradients, tensor by tensor
  /// added to `sum`. The gradients are zero then.
  mutating func addSquares(to sum: inout Double, on workers: Workers) {
    add(isPaged ? map.endSlots : Array(squares.indices), on: workers)
    if isPaged {
      for block in map.ends { parameters.gradients.discard(blocks.range(block)) }
    } else {
      parameters.clearGradients(on: workers)
    }
    for squares in squares { sum += squares }
  }

  /// Finds what updates those tensors, whose weights and gradients are in memory.
  private mutating func prepare(
    _ slots: [Int], _ update: BlockUpdate, on workers: Workers
  ) throws {
    for slot in slots {
      steps[slot] = try update.dense(slot, squares: squares[slot], of: parameters, on: workers)
    }
  }

  private mutating func add(_ slots: [Int], on workers: Workers) {
    for slot in slots {
      squares[slot] = sumOfSquares(
        parameters.gradient(parameters.layout.slots[slot]), on: workers)
    }
  }

  // MARK: Blocks

  private func visits(_ blocks: [Int]) -> [Visit] {
    blocks.map { visit($0, map.blocks.weightPlanes) }
  }

  /// Checksums are compared by who passes over the bytes.
  private func visit(_ block: Int, _ planes: PlaneSet) -> Visit {
    Visit(.dense(block), planes, isCheckedByHolder: true)
  }

  private mutating func load(_ block: Int, _ pager: inout Pager, on workers: Workers) throws {
    var page = try blocks.next(block, &pager)
    weightMemory.give(to: blocks.range(block), of: parameters.weights, on: workers)
    var isRight = false
    while !isRight {
      let sums = page.sums(toCheck: blocks.weightPlanes)
      blocks.readWeights(page, into: parameters, block, on: workers, sums: sums)
      isRight = try pager.check(&page, sums, isChanged: false)
    }
    pager.keep(page)
    isLoaded[block] = true
  }

  private mutating func release(_ block: Int) {
    weightMemory.take(blocks.range(block))
    isLoaded[block] = false
  }

  /// Updates the parts of tensors that lie in a block, while its page is here.
  private func update(
    _ block: Int, _ update: BlockUpdate, _ pager: inout Pager, on workers: Workers,
    _ meter: inout StepMeter
  ) throws {
    var page = try pager.next()
    precondition(page.block == .dense(block), "blocks come as planned")
    try meter.update { _ in try self.update(&page, blocks.range(block), &pager, on: workers) }
    if map.isEnd[block] { blocks.readWeights(page, into: parameters, block, on: workers) }
    pager.writeBack(page, step: update.step, tokens: 0)
  }

  /// Checksums of what was read are compared, and those of what will be written taken, on the way; from
  /// bytes that were wrong it is done again: factors were advanced before.
  private func update(
    _ page: inout Page, _ range: Range<Int>, _ pager: inout Pager, on workers: Workers
  ) throws {
    let gradients = parameters.gradients
    let gradient = gradients.span.extracting(range)
    let parts = zip(parameters.layout.slots, steps)
      .filter { slot, _ in slot.range.overlaps(range) }
      .map { slot, step in
        guard let step else { preconditionFailure("tensors are prepared before their blocks") }
        let part = slot.range.clamped(to: range)
        return DensePart(
          elements: part.lowerBound - range.lowerBound..<part.upperBound - range.lowerBound,
          first: part.lowerBound - slot.offset, step: step)
      }
    if blocks.isStrip { try pager.checkUnpassed(&page, .all) }
    var isRight = false
    while !isRight {
      let sums = page.sums(toCheck: .all)
      blocks.update(&page, parts, gradient: gradient, on: workers, sums: sums)
      blocks.setFactors(of: &page, from: parameters, range)
      isRight = try pager.check(&page, sums, isChanged: true)
    }
  }
}
