import Base
import Kernels
import Layers
import Models
import Optimizers
import Paging
import Storage
import Tracing

/// One optimizer step, top to bottom. Read this file first.
///
///     NVMe --plan, prefetch--> pinned pool --next--> Page --planes--> kernels
///     NVMe <---writeBack------ pinned pool <-------- (consumed)
///
///     forward,  layer 1..L   attention and gate of ALL micro-batches; then each touched expert:
///                            page in hi, one grouped product, page released
///     loss
///     backward, layer L..1   each layer recomputed from its boundary where nothing more was kept of
///                            it (`keepingTape`, `usingTape`); each touched expert:
///                            page in lo, m, v, gradient, update while resident, page out
///     commit                 frozen between two steps, made durable beside the next: its experts
///                            are on the disk, and its dense part goes there during the forward
///                            sweep, which does not change it
///
/// Where memory is short, `dense` brings a layer's attention and norms in before a sweep is in it, and
/// its boundaries wait on the disk between the sweeps (`keepBoundaries`, `restoreBoundaries`).
///
/// Reads for what comes next are in flight all the while, also of experts that a gate will probably
/// choose: `pump`, called between the loops of the arithmetic, starts further ones whenever frames have
/// become free. Where the drive is what a step waits for, some gradients wait in memory, and the next
/// forward sweep updates their experts (`HeldGradients`). Each record crosses the disk once a sweep
/// whatever the number of micro-batches, and gradients of experts never leave memory. What is computed
/// depends on the configuration alone: the budget decides only what `pager` finds resident.
struct TrainingStep: ~Copyable {
  var pager: Pager
  let model: Transformer
  let optimizer: Optimizer
  let schedule: LearningRateSchedule
  let options: StepOptions
  /// How much of the dense part is in memory.
  var dense: DenseResidency
  /// The dense part of a frozen generation, as far as it is not on its way to the disk.
  var unsaved: UnsavedDense
  /// Where activations wait that leave memory between the sweeps.
  var scratches = ActivationScratches()
  /// What the next sweep will probably visit.
  var likely = LikelyExperts()
  /// Where gradients wait for the forward sweep of the next step; nil where all experts are updated at once.
  var held: HeldGradients?

  /// Runs step `step` (the first is 1) on a global batch.
  /// - Throws: `StorageError` when a page cannot be had; `TrainingError.notFinite` before any NaN
  ///   reaches a weight. The last committed generation is whole after either.
  /// - Parameter mayHold: whether some updates may be left to the next forward sweep.
  mutating func run(
    step: Int, _ batch: PackedBatch, mayHold: Bool = true
  ) throws -> StepMetrics {
    var meter = StepMeter(pager.counters, trace)
    var update = BlockUpdate(optimizer, options, rate: schedule.rate(step), step: step)
    held?.counts = HeldGradients.Counts()
    held?.mayHold = mayHold
    try forward(batch, step: step, mode: .training)
    meter.book(update: held?.counts.seconds ?? 0)
    meter.mark(.forward, pager.counters)

    // The norm of all gradients is known when the last one is: it costs a sweep of its own.
    if case .global(let norm) = options.clip {
      update.scale = try gradientScale(norm: norm, step: step)
    }
    let loss = try backward(.update(update), step: step, &meter)
    meter.mark(.backward, pager.counters)

    precondition(unsaved.isEmpty, "what is frozen is saved before it changes")
    try dense.finish(update, &pager, on: model.workers, &meter)
    meter.mark(.update, pager.counters)
    return meter.report(
      step: step, loss: loss, model, pager.counters, held?.counts, rate: update.rate)
  }

  /// The forward sweep.
  mutating func forward(_ batch: PackedBatch, step: Int, mode: Transformer.Mode) throws {
    trace.span(.embedding) { model.embed(batch, step: step, mode: mode) }
    likely.begin()
    if !dense.isPaged { for layer in model.description.layers { likely.foresee(layer, in: model) } }
    pager.plan(dense.visits(after: nil), anticipating: likelyVisits(after: nil))
    for layer in model.layers(.encoder) { try forward(layer) }
    model.encoderToDecoder()
    for layer in model.layers(.decoder) { try forward(layer) }
  }

  /// The loss, and the backward sweep from it.
  mutating func backward(
    _ use: GradientUse, step: Int, _ meter: inout StepMeter
  ) throws -> CrossEntropy.Total {
    if case .update = use { chooseHeld() }
    pager.plan(backwardVisits(use))
    let model = model
    let span = trace.begin(.loss)
    let loss = model.workers.run({ model.lossForwardBackward() }, between: { pager.pump() })
    span.end()
    guard loss.loss.isFinite else { throw TrainingError.notFinite(step: step, what: "loss") }

    for layer in model.layers(.decoder).reversed() { try backward(layer, use, &meter) }
    trace.span(.embedding) { model.decoderToEncoder() }
    for layer in model.layers(.encoder).reversed() { try backward(layer, use, &meter) }
    trace.span(.embedding) { model.embedBackward(.encoder) }
    return loss
  }

  /// One layer forward: the dense part for all micro-batches, then its experts one after another.
  private mutating func forward(_ layer: LayerDescription) throws {
    let number = model.description.number(of: layer)
    let span = trace.begin(layer)
    try dense.enter(number, &pager, on: model.workers)
    if dense.isPaged, layer.gateInput?.isByTask == true {
      likely.foresee(layer, in: model)
      pager.plan([], anticipating: likelyVisits(after: number == 0 ? nil : number - 1))
    }
    try trace.attention(layer) {
      for sublayer in layer.denseSublayers {
        try pager.keepingTape(of: sublayer, layer, scratches.tapes, model) { pager in
          model.workers.run({ model.forward(sublayer, of: layer) }, between: { pager.pump() })
        }
      }
    }
    try pager.forwardExperts(
      of: layer, model, options, then: dense.visits(after: number),
      anticipating: likelyVisits(after: number), tapes: scratches.tapes, held)
    if let mixture = layer.mixture {
      likely.note(model.routings[mixture], of: mixture, in: model.mode)
    }
    dense.leave(number)
    try pager.keepBoundaries(of: layer, scratches.boundaries, model)
    try unsaved.saveSome(model.dense, &pager, layers: model.description.layers.count)
    span.end()
  }

  /// Visits of the next layer with experts after layer `number`, or of the first one, as far as they
  /// can be guessed before its gate decides.
  private func likelyVisits(after number: Int?) -> [Visit] {
    let blocks = likely.blocks(after: number, of: model.description, in: model.mode)
    guard let held, !held.isEmpty else { return blocks.map { Visit($0, options.forwardPlanes) } }
    // These are certain.
    let later = model.description.layers.dropFirst(number.map { $0 + 1 } ?? 0)
    let others = Set(later.lazy.compactMap(\.mixture).first.map(held.blocks) ?? [])
      .subtracting(blocks).sorted()
    return (blocks + others).map { Visit($0, held.holds($0) ? .all : options.forwardPlanes) }
  }

  /// One layer backward. Experts come in reverse, so that the first ones are still resident from
  /// the forward sweep; each is updated while its page is here.
  private mutating func backward(
    _ layer: LayerDescription, _ use: GradientUse, _ meter: inout StepMeter
  ) throws {
    let number = model.description.number(of: layer)
    let span = trace.begin(layer)
    try dense.enterBackward(number, &pager, on: model.workers)
    try pager.restoreBoundaries(of: layer, scratches.boundaries, model)
    if let mixture = layer.mixture {
      trace.span(.router) { model.routeRecompute(layer) }
      try pager.usingTape(of: .feedForward, layer, scratches.tapes, model) { pager in
        for block in model.backwardBlocks(of: mixture, use, options) {
          try pager.backward(block, of: layer, model, options, use, held, &meter)
        }
      }
      trace.span(.router) { model.routeBackward(layer) }
    }
    try trace.attention(layer) {
      for sublayer in layer.denseSublayers.reversed() {
        try pager.usingTape(of: sublayer, layer, scratches.tapes, model) { pager in
          model.workers.run({ model.backward(sublayer, of: layer) }, between: { pager.pump() })
        }
      }
    }
    try dense.finish(number, use, &pager, on: model.workers, &meter)
    span.end()
  }
}

extension Pager {
  /// One block of an expert backward, updated while its page is here unless its gradient is held.
  fileprivate mutating func backward(
    _ block: LayerRouting.Block, of layer: LayerDescription, _ model: Transformer,
    _ options: StepOptions, _ use: GradientUse, _ held: HeldGradients?, _ meter: inout StepMeter
  ) throws {
    let span = layer.mixture.map { trace.begin($0, block) }
    var page = try next()
    page.initialiseIfVirgin(model.description.experts, seed: options.seed)
    try widenChecked(
      &page, into: model.expertWeights, precision: options.precision, on: model.workers)
    model.workers.run({ model.expertBackward(layer, block) }, between: { pump() })
    switch use {
    case .update(let update):
      if let held, held.isChosen(page.block) {
        try update.hold(page.block, tokens: block.rows, in: held, model, &meter)
        keep(page)
        break
      }
      try update.expert(&page, &self, model, &meter)
      writeBack(page, step: update.step, tokens: block.rows)
    case .observe(let observe):
      try observe(page.block, model.expertGradients)
      keep(page)
    }
    span?.end()
  }

  /// The experts of one layer forward, for training and generation alike: gate, then each touched
  /// expert with all the rows it was given.
  /// - Parameters:
  ///   - following: what is visited after them, to be read beside their arithmetic.
  ///   - likely: experts of the next layer that its gate will probably choose, to be read after that.
  ///   - tapes: where their hidden units wait for the backward sweep, if nowhere else.
  ///   - held: gradients that some of them are to be updated from first; the layer's others, too.
  mutating func forwardExperts(
    of layer: LayerDescription, _ model: Transformer, _ options: StepOptions,
    then following: [Visit] = [], anticipating likely: [Visit] = [], tapes: TapeLeaves? = nil,
    _ held: HeldGradients? = nil
  ) throws {
    guard let mixture = layer.mixture else { return plan(following) }
    trace.span(.router) { model.routeForward(layer) }
    let chosen = model.visits(of: mixture) {
      held?.holds($0) == true ? .all : options.forwardPlanes
    }
    let others = Set(held?.blocks(of: mixture) ?? []).subtracting(chosen.map(\.block)).sorted()
    let updates = others.map { Visit($0, .all, isCheckedByHolder: true) }
    plan(chosen + updates + following, isUrgent: !chosen.isEmpty, anticipating: likely)
    try keepingTape(of: .feedForward, layer, tapes, model) { pager in
      for block in model.routings[mixture].blocks {
        let span = pager.trace.begin(mixture, block)
        var page = try pager.next()
        page.initialiseIfVirgin(model.description.experts, seed: options.seed)
        let updated = try held?.update(&page, &pager, model)
        try pager.widenChecked(
          &page, into: model.expertWeights, precision: options.precision, on: model.workers)
        if let updated {
          pager.writeBack(page, step: updated.step, tokens: updated.tokens)
        } else {
          pager.keep(page)
        }
        model.workers.run({ model.expertForward(layer, block) }, between: { pager.pump() })
        span.end()
      }
    }
    if let held { try updateHeld(others.count, held, model, options) }
  }
}
