import Base
import Goldens
import Kernels
import Layers
import Models
import TestSupport
import Testing

/// Through the cache, in steps of any kind, the decoder says what it says about whole sequences at
/// once; with sources and targets of different lengths, without their padding.
@Suite struct DecodingTests {
  /// Where evaluation has a capacity that counts padding, or a first token without a position,
  /// transformers itself says other things of steps than of whole sequences.
  static let names =
    GoldenTests.names.filter { name in
      !(Golden.variants.contains(name) && name.hasPrefix("nllb"))
    } + [
      "nllb-moe-tiny-eom"
    ]

  /// How targets are cut into what is entered together.
  enum Pace: CaseIterable {
    case tokenByToken, wholeAtOnce, promptThenTokens, unequalPieces

    /// Tokens of sequence `number` that step `step` enters.
    func tokens(_ step: Int, _ number: Int, of count: Int) -> Int {
      switch self {
      case .tokenByToken: 1
      case .wholeAtOnce: count
      case .promptThenTokens: step == 0 ? 1 + (number + count) / 2 : 1
      case .unequalPieces: (step + number) % 3
      }
    }
  }

  @Test(arguments: names, Golden.Case.allCases)
  func stepsEqualTheWholeForward(_ name: String, _ kind: Golden.Case) throws {
    let golden = try Golden(name)
    let tiny = try TinyModel(golden, hasRouterLosses: false, kind)
    try expectSteps(tiny, name)
  }

  @Test func stepsEqualTheWholeForwardOfZcode() throws {
    try expectSteps(TinyModel(), "zcode")
  }

  private func expectSteps(_ tiny: TinyModel, _ name: String) throws {
    tiny.forward(mode: .generation)
    let whole = tiny.model.logits()
    for pace in Pace.allCases {
      let decoder = StepwiseDecoder(tiny, beams: 1)
      var (worst, compared) = (Float(0), 0)
      try decoder.enter(decoder.targets, pace) { sequence, position, logits in
        let row = tiny.batch.target.sequences[sequence].lowerBound + position
        for (a, b) in zip(logits, whole.rows(row..<row + 1).values) {
          worst = max(worst, abs(a - b))
        }
        compared += 1
      }
      #expect(compared >= decoder.targets.count && worst < 1e-5, "\(name) \(pace): \(worst)")
    }
  }

  /// Goal: the encoder drops in generation what it drops in evaluation, the decoder drops nothing.
  @Test func capacityIsTheEncodersAlone() throws {
    let golden = try TinyModel(Golden("switch-tiny"), hasRouterLosses: false, .full)
    // Gates of zero send all tokens to the first expert.
    var tiny = TinyModel(golden.model.description, batch: golden.batch)
    tiny.experts = golden.experts
    func dropped(_ mode: Transformer.Mode) -> (encoder: Int, decoder: Int) {
      tiny.forward(mode: mode)
      let routings = tiny.model.routings
      let encoder = tiny.model.layers(.encoder).compactMap(\.mixture).count
      let dropped = routings.map { $0.routedChoices - $0.rows.count }
      return (dropped.prefix(encoder).reduce(0, +), dropped.dropFirst(encoder).reduce(0, +))
    }
    let (evaluation, generation) = (dropped(.evaluation), dropped(.generation))
    #expect(evaluation.encoder > 0 && evaluation.decoder > 0)
    #expect(generation == (evaluation.encoder, 0))
  }

  /// Goal: beams that branch, swap and die have the logits of their own tokens.
  @Test(arguments: ["switch-tiny", "mixtral-tiny"])
  func branchesKeepTheirPast(_ name: String) throws {
    let tiny = try TinyModel(Golden(name), hasRouterLosses: false, .full)
    let decoder = StepwiseDecoder(tiny, beams: 3)
    let random = Philox(seed: 4, purpose: .test)
    let vocabulary = tiny.model.description.vocabulary
    var beams = decoder.targets.indices.map {
      [(slot: 3 * $0, tokens: decoder.targets[$0].prefix(3))]
    }
    _ = try decoder.step(beams.joined().map { ($0.slot, Array($0.tokens)) })
    for step in 0..<5 {
      for sequence in beams.indices {
        let chosen = (0..<3).map {
          random.below(beams[sequence].count, UInt32(step), UInt32(sequence), UInt32($0))
        }
        let slots = decoder.cache.branch(
          sequence, from: chosen.map { beams[sequence][$0].slot })
        #expect(Set(slots).count == 3)
        beams[sequence] = zip(chosen, slots).enumerated().map { index, child in
          let token = Int32((7 * step + 3 * sequence + index) % vocabulary)
          return (child.1, beams[sequence][child.0].tokens + [token])
        }
      }
      let found = try decoder.step(
        beams.joined().map { ($0.slot, [$0.tokens[$0.tokens.endIndex - 1]]) })
      let fresh = StepwiseDecoder(tiny, beams: 3)
      let wanted = try fresh.step(beams.joined().map { ($0.slot, Array($0.tokens)) })
      for (a, b) in zip(found.joined(), wanted.joined()) {
        #expect(abs(a - b) < 1e-5, "step \(step)")
      }
    }
  }
}

/// The sequences of a small model's batch through a cache, with its experts in memory.
private struct StepwiseDecoder {
  let model: Transformer
  let cache: DecodingCache
  /// Of each sequence, without padding.
  let targets: [[Int32]]
  private let experts: [BlockID: FloatBuffer]

  /// Reads the sources, too.
  init(_ tiny: TinyModel, beams: Int) {
    func sequences(_ side: PackedSide) -> [[Int32]] { side.keys.map { Array(side.tokens[$0]) } }
    let (description, sources) = (tiny.model.description, sequences(tiny.batch.source))
    targets = sequences(tiny.batch.target)
    experts = tiny.experts
    let rows = beams * max(tiny.batch.source.rows, tiny.batch.target.rows)
    let longest = (sources + targets).map(\.count).max() ?? 1
    model = Transformer(
      description, dense: tiny.model.dense,
      limits: BatchLimits(
        microBatches: 1, microBatchRows: rows, sequenceRows: longest, expertRows: rows),
      smoothing: 0, training: false, workers: Workers(count: 1))
    cache = DecodingCache(
      description,
      DecodingCache.Limits(
        sequences: targets.count, beams: beams, positions: longest, sourceRows: rows))
    var batch = PackedBatch()
    if !sources.isEmpty {
      var next = 0
      let runs = sources.map { source in
        defer { next += source.count }
        return next..<next + source.count
      }
      batch.source.append(tokens: sources.flatMap { $0 }, sequences: runs)
    }
    model.embed(batch, step: 0, mode: .generation)
    for layer in model.layers(.encoder) {
      model.attendForward(layer)
      passExperts(layer)
    }
    model.startDecoding(cache)
  }

  /// The logits after the last token of each entry.
  func step(_ entries: [(slot: Int, tokens: [Int32])]) throws -> [[Float]] {
    let step = model.embedStep(entries, cache)
    for layer in model.layers(.decoder) {
      model.attendStep(layer, step, cache)
      passExperts(layer)
    }
    return model.choices(after: step) { _, logits in logits.values }
  }

  /// Enters sequences from their beginnings to their ends; `visit` sees the logits after each
  /// piece, with the position of its last token.
  func enter(
    _ sequences: [[Int32]], _ pace: DecodingTests.Pace,
    visit: (_ sequence: Int, _ position: Int, _ logits: [Float]) -> Void
  ) throws {
    var entered = sequences.map { _ in 0 }
    var number = 0
    while entered != sequences.map(\.count) {
      let pieces = sequences.indices.map { index in
        let left = sequences[index].count - entered[index]
        return min(left, pace.tokens(number, index, of: sequences[index].count))
      }
      number += 1
      let active = sequences.indices.filter { pieces[$0] > 0 }
      if active.isEmpty { continue }
      let logits = try step(
        active.map { ($0, Array(sequences[$0][entered[$0]..<entered[$0] + pieces[$0]])) })
      for (index, logits) in zip(active, logits) {
        entered[index] += pieces[index]
        visit(index, entered[index] - 1, logits)
      }
    }
  }

  private func passExperts(_ layer: LayerDescription) {
    guard let mixture = layer.mixture else { return }
    model.routeForward(layer)
    for block in model.routings[mixture].blocks {
      guard let weights = experts[.expert(layer: mixture, block.expert)] else {
        preconditionFailure("every block has weights")
      }
      model.expertWeights.fill(from: weights)
      model.expertForward(layer, block)
    }
  }
}
