/// Reads a text file line by line into encoded examples on two sides.
struct TextCorpusReader {
  let path: String
  let format: TextFormat
  let options: TextCorpus.Options
  private(set) var counts = TextCorpus.Counts()
  private(set) var languages: [String] = []
  private(set) var tasks: [TrainingTask] = []
  private(set) var training: ExampleSet
  private(set) var heldOut: ExampleSet
  private(set) var heldOutTexts: [TextPair] = []

  private let encoder: SequenceEncoder
  private let bytesMax: Int
  private var parser: TextLineParser
  private var taskPlaces: [TrainingTask: UInt16] = [:]
  private var languagePlaces: [String: LanguageIndex] = [:]
  private var textBytes = 0
  /// Text of either side on its way into blocks; nil for formats that are not packed.
  private var blocks: (training: TokenBlocks, heldOut: TokenBlocks)?
  /// Longest text to be corrupted.
  private var textTokensMax = Int.max

  /// Pairs to train on whose target may be the source of a held-out pair: which is known at the
  /// end. `reverse` is the hash of the pair with its sides exchanged.
  private var doubtful: [(reverse: UInt64, encoded: SequenceEncoder.Encoded, task: UInt16)] = []
  private var heldOutHashes: Set<UInt64> = []

  init(
    path: String, encoder: SequenceEncoder, options: TextCorpus.Options
  ) throws(CorpusError) {
    guard 0 <= options.heldOutShare, options.heldOutShare < 1 else {
      throw .option(name: "held-out share", cause: "\(options.heldOutShare) is not in 0..<1")
    }
    guard options.maxSequenceTokens >= 4 else {
      throw .option(name: "max sequence tokens", cause: "below 4 there is no room for text")
    }
    let bytesMax =
      if let bytesMax = options.bytesMax { bytesMax } else { try TextCorpus.bytesMax(of: path) }
    let format =
      if let format = options.format { format } else { try TextFormat.detect(path: path) }
    let kind = try Self.kind(format, encoder)
    (self.path, self.format, self.options) = (path, format, options)
    (self.encoder, self.bytesMax) = (encoder, bytesMax)
    (training, heldOut) = (ExampleSet(kind), ExampleSet(kind))
    parser = TextLineParser(
      format, sourceLanguage: options.sourceLanguage, targetLanguage: options.targetLanguage)
    if case .corruption(let corruption, _) = kind {
      textTokensMax = corruption.textTokensMax(maxSequenceTokens: options.maxSequenceTokens)
    } else if format.isPlainText {
      let empty = TokenBlocks(rows: options.maxSequenceTokens)
      blocks = (empty, empty)
    }
  }

  /// How the examples of a format are stored for a layout.
  private static func kind(
    _ format: TextFormat, _ encoder: SequenceEncoder
  ) throws(CorpusError) -> ExampleSet.Kind {
    let start: Int32
    switch encoder.layout {
    case .decoderOnly:
      guard format != .chatJSONL || encoder.template != nil else {
        throw .option(
          name: "chat template",
          cause: "none fits the vocabulary; name one of "
            + ChatTemplate.allCases.map(\.rawValue).joined(separator: ", "))
      }
      return .continuation
    case .sequenceToSequence(let first, _), .languageTagged(let first): start = first
    }
    switch format {
    case .pairsJSONL, .pairsTSV: return .pair(start: start)
    case .chatJSONL:
      throw .option(
        name: "format", cause: "conversations are for decoders alone; give pairs of source, target")
    case .lines, .textJSONL:
      let sentinels = encoder.sentinels
      guard !sentinels.isEmpty else {
        throw .option(
          name: "format",
          cause: "of plain text spans are left out, and the vocabulary has no <extra_id_0>, … to "
            + "stand for them; give pairs of source and target")
      }
      return .corruption(SpanCorruption(sentinels: sentinels, end: encoder.end), start: start)
    }
  }

  // MARK: Reading

  mutating func read() throws(CorpusError) {
    var lines = try TextLines(path: path)
    while let line = try lines.next() {
      guard !line.allSatisfy(\.isBlank) else { continue }
      counts.lines += 1
      do throws(LineDefect) {
        if let record = try parser.record(line) { try add(record) }
      } catch {
        throw .badLine(path: path, line: lines.number, cause: error.cause, remedy: error.remedy)
      }
      try checkBytes(line: lines.number)
    }
    addLastBlocks()
    addDoubtful()
    training.close()
    heldOut.close()
    (counts.training, counts.heldOut) = (training.count, heldOut.count)
    (counts.trainingTokens, counts.heldOutTokens) = (training.tokenCount, heldOut.tokenCount)
    guard training.count > 0 else {
      throw .noExamples(
        path: path,
        cause: "nothing to train on in \(counts.lines) lines: \(counts.empty) empty, "
          + "\(counts.tooLong) longer than max_sequence_tokens \(options.maxSequenceTokens), "
          + "\(counts.heldOut) held out; give more text, or raise max_sequence_tokens")
    }
  }

  private func checkBytes(line: Int) throws(CorpusError) {
    let bytes =
      training.residentBytes + heldOut.residentBytes + textBytes
      + EpochSampler.bytesPerExample * training.count
    guard bytes <= bytesMax else {
      throw .tooLarge(path: path, line: line, bytes: bytes, limit: bytesMax)
    }
  }

  private mutating func add(_ record: TextRecord) throws(LineDefect) {
    guard !record.isEmpty else {
      counts.empty += 1
      return
    }
    let task = try place(of: task(of: record))
    let hash = options.heldOutShare > 0 ? SegmentSplit.hash(record.sourceText) : 0
    let isHeldOut = isHeldOut(hash)
    if case .text(let text) = record { return try add(text, task, isHeldOut: isHeldOut) }

    let encoded = try encoder.encode(record)
    guard encoded.rows > 0 else {
      counts.empty += 1
      return
    }
    guard encoded.rows <= options.maxSequenceTokens else {
      counts.tooLong += 1
      return
    }
    if case .pair(let pair) = record, options.heldOutShare > 0 {
      add(pair, encoded, task, sourceHash: hash)
    } else {
      append(encoded, task, isHeldOut: isHeldOut)
    }
  }

  private func isHeldOut(_ hash: UInt64) -> Bool {
    SegmentSplit.isHeldOut(hash: hash, share: options.heldOutShare)
  }

  private mutating func add(
    _ pair: TextPair, _ encoded: SequenceEncoder.Encoded, _ task: UInt16, sourceHash: UInt64
  ) {
    let targetHash = SegmentSplit.hash(pair.target)
    if isHeldOut(sourceHash) {
      heldOut.append(encoded, task: task)
      heldOutTexts.append(pair)
      textBytes += Self.bytes(of: [pair])
      heldOutHashes.insert(StableHash.combine(sourceHash, targetHash))
    } else if isHeldOut(targetHash) {
      doubtful.append((StableHash.combine(targetHash, sourceHash), encoded, task))
      textBytes += encoded.bytes
    } else {
      training.append(encoded, task: task)
    }
  }

  private mutating func addDoubtful() {
    for (reverse, encoded, task) in doubtful {
      if heldOutHashes.contains(reverse) {
        counts.reversed += 1
      } else {
        training.append(encoded, task: task)
      }
    }
    doubtful = []
    heldOutHashes = []
  }

  /// Bytes of texts and of what holds them.
  static func bytes(of pairs: [TextPair]) -> Int {
    pairs.reduce(pairs.count * MemoryLayout<TextPair>.stride) {
      $0 + $1.source.utf8.count + $1.target.utf8.count
    }
  }
}

// MARK: - Plain text

extension TextCorpusReader {
  private mutating func add(_ text: String, _ task: UInt16, isHeldOut: Bool) throws(LineDefect) {
    if blocks != nil {
      let tokens = try encoder.document(text)
      let full = isHeldOut ? blocks?.heldOut.add(tokens) : blocks?.training.add(tokens)
      for block in full ?? [] { append(.continuation(block), task, isHeldOut: isHeldOut) }
    } else {
      let tokens = try encoder.tokens(text)
      guard tokens.count >= 2 else {
        counts.empty += 1
        return
      }
      // As many parts as needed, of equal lengths but for one token.
      let parts = (tokens.count + textTokensMax - 1) / textTokensMax
      for part in 0..<parts {
        let range = part * tokens.count / parts..<(part + 1) * tokens.count / parts
        append(.continuation(Array(tokens[range])), task, isHeldOut: isHeldOut)
      }
    }
  }

  private mutating func addLastBlocks() {
    guard let blocks, let task = taskPlaces[Self.text] else { return }
    if let rest = blocks.training.rest { append(.continuation(rest), task, isHeldOut: false) }
    if let rest = blocks.heldOut.rest { append(.continuation(rest), task, isHeldOut: true) }
  }

  private mutating func append(
    _ encoded: SequenceEncoder.Encoded, _ task: UInt16, isHeldOut: Bool
  ) {
    if isHeldOut {
      heldOut.append(encoded, task: task)
    } else {
      training.append(encoded, task: task)
    }
  }
}

extension TextFormat {
  fileprivate var isPlainText: Bool { self == .lines || self == .textJSONL }
}

extension SequenceEncoder.Encoded {
  /// On the longer side; the last token of a decoder's sequence is a label only.
  fileprivate var rows: Int {
    switch self {
    case .pair(let source, let labels): max(source.count, labels.count)
    case .continuation(let tokens): tokens.count - 1
    }
  }

  fileprivate var bytes: Int {
    switch self {
    case .pair(let source, let labels): 4 * (source.count + labels.count)
    case .continuation(let tokens): 4 * tokens.count
    }
  }
}

// MARK: - Tasks

extension TextCorpusReader {
  private static let none = LanguageIndex(0)
  private static let text = TrainingTask(kind: .text, source: none, target: none)

  private mutating func task(of record: TextRecord) throws(LineDefect) -> TrainingTask {
    switch record {
    case .text:
      if blocks != nil { return Self.text }
      return TrainingTask(kind: .denoise, source: Self.none, target: Self.none)
    case .chat: return TrainingTask(kind: .chat, source: Self.none, target: Self.none)
    case .pair(let pair):
      guard let source = pair.sourceLanguage, let target = pair.targetLanguage else {
        return TrainingTask(kind: .pair, source: Self.none, target: Self.none)
      }
      return TrainingTask(
        kind: .translate, source: try place(of: source), target: try place(of: target))
    }
  }

  private static let languagesMax = 1000

  private mutating func place(of language: String) throws(LineDefect) -> LanguageIndex {
    if let place = languagePlaces[language] { return place }
    guard languages.count < Self.languagesMax else {
      throw LineDefect(
        cause: "`\(language)` is one language more than \(Self.languagesMax)",
        remedy: "check what stands in the place of the languages")
    }
    let place = LanguageIndex(languages.count)
    languages.append(language)
    languagePlaces[language] = place
    return place
  }

  private mutating func place(of task: TrainingTask) throws(LineDefect) -> UInt16 {
    if let place = taskPlaces[task] { return place }
    guard let place = UInt16(exactly: tasks.count) else {
      throw LineDefect(
        cause: "more than \(tasks.count) pairs of languages",
        remedy: "check what stands in the place of the languages")
    }
    tasks.append(task)
    taskPlaces[task] = place
    return place
  }
}
