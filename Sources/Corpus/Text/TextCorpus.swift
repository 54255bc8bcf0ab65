import Base

/// One file of text to fine-tune a published model on, as tokens of that model's tokenizer, in
/// memory: pairs, plain text or conversations (`TextFormat`), laid out for its kind of model
/// (`SequenceLayout`).
///
/// A share of the examples is held out for evaluation, by a hash of their source text alone: what
/// else stands in the file, and where, does not matter. Of pairs, the reverse of a held-out pair is
/// left out of training.
package struct TextCorpus: Sendable {
  package struct Options: Hashable, Sendable {
    /// nil: as `TextFormat.detect` finds it.
    package var format: TextFormat?
    /// The languages of pairs that do not say their own.
    package var sourceLanguage: String?
    package var targetLanguage: String?
    /// Share of the examples that are held out, 0 up to but not 1.
    package var heldOutShare = 0.01
    /// Tokens of a sequence on either side, special tokens included. Longer pairs and conversations
    /// are skipped, plain text is cut.
    package var maxSequenceTokens = 512
    /// Most bytes that `open` may hold; nil: `bytesMax(of:)`.
    package var bytesMax: Int?

    package init() {}
  }

  /// What became of the lines of the file.
  package struct Counts: Equatable, Sendable {
    /// That are not white space; the line of names of a table included.
    package internal(set) var lines = 0
    /// Examples to train on. Plain text is packed or cut: its examples are not its lines.
    package internal(set) var training = 0
    package internal(set) var heldOut = 0
    package internal(set) var trainingTokens = 0
    package internal(set) var heldOutTokens = 0
    /// Skipped, for a side is empty or nothing is left to learn from.
    package internal(set) var empty = 0
    /// Skipped, for a side is longer than `maxSequenceTokens`.
    package internal(set) var tooLong = 0
    /// Left out of training, for they are the reverse of a held-out pair.
    package internal(set) var reversed = 0
  }

  package let path: String
  package let format: TextFormat
  package let maxSequenceTokens: Int
  package let counts: Counts
  /// The languages of pairs, in the order of their first appearance.
  package let languages: [String]
  /// In the order of their first appearance.
  package let tasks: [TrainingTask]
  let training: ExampleSet
  let heldOut: ExampleSet
  /// The texts of the held-out examples, if they are pairs.
  private let heldOutTexts: [TextPair]
  /// The held-out examples in an order in which any first part is a fair sample.
  private let heldOutOrder: [UInt32]

  /// Reads the file at `path`.
  /// - Throws: `CorpusError.unreadable`; `.badLine` for the first line that is not what the format
  ///   says; `.option` for a format that the layout cannot use; `.noExamples` when nothing is left
  ///   to train on; `.tooLarge` as soon as more than `bytesMax` would be held.
  package static func open(
    _ path: String, encoder: SequenceEncoder, options: Options = Options()
  ) throws(CorpusError) -> TextCorpus {
    var reader = try TextCorpusReader(path: path, encoder: encoder, options: options)
    try reader.read()
    return TextCorpus(reader)
  }

  /// A bound on the bytes that `open` holds, known from the size of the file alone, for the memory
  /// ledger: a token a byte, half as much again for what is put around texts and for their places,
  /// and the buffers of reading. The orders of an `EpochSampler` are counted in. `open` never holds
  /// more; it throws.
  package static func bytesMax(of path: String) throws(CorpusError) -> Int {
    6 * (try TextLines.byteCount(of: path)) + readingBytes
  }

  /// One chunk of lines, and the chunk of tokens of either side that is being filled.
  static let readingBytes = 8 << 20

  private init(_ reader: consuming TextCorpusReader) {
    path = reader.path
    format = reader.format
    maxSequenceTokens = reader.options.maxSequenceTokens
    counts = reader.counts
    (languages, tasks) = (reader.languages, reader.tasks)
    (training, heldOut) = (reader.training, reader.heldOut)
    heldOutTexts = reader.heldOutTexts
    heldOutOrder = EpochOrder(seed: Self.heldOutSeed, count: reader.heldOut.count).order(epoch: 0)
  }

  /// Evaluation is the same in every run.
  private static let heldOutSeed: UInt64 = 0

  /// Bytes held: tokens, and the texts of held-out pairs.
  package var residentBytes: Int {
    training.residentBytes + heldOut.residentBytes + TextCorpusReader.bytes(of: heldOutTexts)
      + 4 * heldOutOrder.count
  }

  /// `translate de-en`, `pairs`, `text`, `denoise`, `chat`.
  package func name(of task: TrainingTask) -> String {
    switch task.kind {
    case .translate:
      "translate \(languages[task.source.rawValue])-\(languages[task.target.rawValue])"
    case .denoise: "denoise"
    case .pair: "pairs"
    case .text: "text"
    case .chat: "chat"
    }
  }

  // MARK: Held-out examples

  /// Fixed micro-batches of held-out examples with at most `tokensPerTaskMax` target tokens of each
  /// task, packed as full as those of training. A pure function of the corpus and the arguments.
  package func evaluationBatches(microBatchTokens: Int, tokensPerTaskMax: Int) -> [MicroBatch] {
    precondition(microBatchTokens >= maxSequenceTokens, "a micro-batch holds any sequence")
    let noise = Philox(seed: Self.heldOutSeed, purpose: .denoising)
    var tokens = [Int](repeating: 0, count: tasks.count)
    var batches: [MicroBatch] = []
    for example in heldOutOrder {
      let (source, target) = heldOut.sizes(of: Int(example))
      let task = Int(heldOut.tasks[Int(example)])
      guard tokens[task] + target <= tokensPerTaskMax else { continue }
      tokens[task] += target
      if batches.last?.hasRoom(source: source, target: target, tokensMax: microBatchTokens) != true
      {
        batches.append(MicroBatch())
      }
      var draws = DenoisingNoise.Draws(stream: noise, 0, example)
      heldOut.append(Int(example), of: tasks[task], to: &batches[batches.count - 1], &draws)
    }
    return batches
  }

  /// Up to `count` held-out pairs of a task as the file has them, a fair sample; none for other
  /// tasks than pairs.
  package func heldOutPairs(_ task: TrainingTask, count: Int) -> [TextPair] {
    guard !heldOutTexts.isEmpty, let place = tasks.firstIndex(of: task) else { return [] }
    let examples = heldOutOrder.lazy.map(Int.init).filter { Int(heldOut.tasks[$0]) == place }
    return examples.prefix(count).map { heldOutTexts[$0] }
  }
}
