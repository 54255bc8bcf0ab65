/// Makes a corpus out of unpacked Debian packages: reads, cleans, splits, trains the vocabulary,
/// and writes token shards. The same inputs and options give the same bytes.
package struct CorpusPreparation: Sendable {
  package struct Options: Codable, Equatable, Sendable {
    package var languages = LanguageSelection.top(24)
    /// Training segments of each language at most.
    package var segmentsPerLanguageMax = 8000
    /// Share of the English texts that no training sees.
    package var heldOutShare = 0.04
    /// Decides the order of the segments: which are kept where there are too many.
    package var seed: UInt64 = 1
    package var tokenizer = TokenizerTraining()

    package init() {}
  }

  package let inputs: [String]
  package let output: String
  package let options: Options

  /// `inputs` are directories of unpacked packages; `output` is the directory to make.
  package init(inputs: [String], output: String, options: Options = Options()) {
    self.inputs = inputs
    self.output = output
    self.options = options
  }

  /// Prepares the corpus. The output directory appears whole or not at all; a corpus that was there
  /// is replaced.
  /// - Parameter progress: told one line before each step.
  @discardableResult
  package func run(progress: (String) -> Void = { _ in }) throws(CorpusError) -> CorpusManifest {
    try checkOptions()
    try CorpusDirectory.checkReplaceable(output)

    progress("reading \(inputs.joined(separator: ", "))")
    let (table, sources) = try readInputs()
    let tags = try chooseLanguages(table)
    let split = SegmentSplit(table: table, tags: tags, options: options)
    progress(
      "\(tags.count) languages, \(split.training.count) English segments for training, "
        + "\(split.heldOut.count) held out")

    let sample = split.sample(bytesMax: options.tokenizer.sampleBytesMax)
    progress("training \(options.tokenizer.vocabularySize) pieces on \(sample.count) lines")
    let model = try options.tokenizer.train(lines: sample, languages: tags)

    let directory = try CorpusDirectory(output)
    try directory.write(model, CorpusFile.tokenizer)
    let tokenizer = try Tokenizer(
      path: directory.path(CorpusFile.tokenizer), languageCount: tags.count)
    progress("writing tokens")
    let training = split.encoded(split.training, tokenizer)
    let heldOut = split.encoded(split.heldOut, tokenizer)
    try directory.write(training.encoded, CorpusFile.training)
    try directory.write(heldOut.encoded, CorpusFile.heldOut)
    try directory.write(split.heldOutText, CorpusFile.heldOutText)
    try directory.copyLicences(of: inputs)

    let manifest = try describe(split, training, heldOut, sources, directory)
    try directory.write(manifest)
    try directory.publish()
    return manifest
  }

  private func checkOptions() throws(CorpusError) {
    func require(_ holds: Bool, _ name: String, _ cause: String) throws(CorpusError) {
      if !holds { throw .option(name: name, cause: cause) }
    }
    try require(!inputs.isEmpty, "inputs", "name at least one directory of an unpacked package")
    let names = Set(inputs.map(CorpusDirectory.name))
    try require(names.count == inputs.count, "inputs", "two directories have the same name")
    try require(
      0 <= options.heldOutShare && options.heldOutShare <= 0.5, "held-out share",
      "\(options.heldOutShare) is not between 0 and 0.5")
    try require(options.segmentsPerLanguageMax > 0, "segments per language", "must be positive")
    // Tokens are stored in 16 bits; 256 pieces are the bytes.
    try require(
      (300...65_536).contains(options.tokenizer.vocabularySize), "vocabulary size",
      "\(options.tokenizer.vocabularySize) is not between 300 and 65536")
    switch options.languages {
    case .top(let count): try require(count > 0, "languages", "must be at least one beside English")
    case .tags(let tags): try require(!tags.isEmpty, "languages", "must name at least one")
    }
  }

  private func readInputs() throws(CorpusError) -> (SegmentTable, [CorpusManifest.Source]) {
    var table = SegmentTable()
    var sources: [CorpusManifest.Source] = []
    var filter = LanguageFilter.all
    if case .tags(let tags) = options.languages { filter = .only(Self.canonical(tags)) }
    for input in inputs {
      let kept =
        try MediaWikiReader.read(input, languages: filter, into: &table)
        + MallardReader.read(input, languages: filter, into: &table)
        + GettextReader.read(input, languages: filter, into: &table)
      sources.append(
        CorpusManifest.Source(
          name: CorpusDirectory.name(input), licence: try CorpusDirectory.licence(of: input),
          segments: kept))
    }
    guard !table.english.isEmpty else { throw .nothingFound(paths: inputs) }
    return (table, sources)
  }

  /// English, then the chosen languages by tag.
  private func chooseLanguages(_ table: SegmentTable) throws(CorpusError) -> [String] {
    let bySize = table.languagesBySize
    let chosen: Set<String>
    switch options.languages {
    case .top(let count): chosen = Set(bySize.prefix(count))
    case .tags(let tags): chosen = Self.canonical(tags).subtracting([LanguageTag.english])
    }
    for tag in chosen.sorted() where !bySize.contains(tag) {
      throw .languageWithoutData(tag: tag, available: bySize)
    }
    return [LanguageTag.english] + chosen.sorted()
  }

  /// People write `pt-br` and `zh_CN`; the corpus says `pt_BR` and `zh_Hans`.
  private static func canonical(_ tags: [String]) -> Set<String> {
    Set(tags.map { LanguageTag.canonical($0) ?? $0 })
  }

  private func describe(
    _ split: SegmentSplit, _ training: TokenShard, _ heldOut: TokenShard,
    _ sources: [CorpusManifest.Source], _ directory: CorpusDirectory
  ) throws(CorpusError) -> CorpusManifest {
    let languages = split.tags.indices.map { i in
      let language = LanguageIndex(i)
      return CorpusManifest.Language(
        tag: split.tags[i],
        trainingSegments: training.segments(language, and: language).count,
        heldOutSegments: heldOut.segments(language, and: language).count,
        trainingTokens: training.tokenCount(language), heldOutTokens: heldOut.tokenCount(language))
    }
    let files = try directory.describeFiles()
    return CorpusManifest(
      formatVersion: CorpusManifest.currentVersion, languages: languages,
      vocabularySize: options.tokenizer.vocabularySize, trainingSegments: training.segmentCount,
      heldOutSegments: heldOut.segmentCount, options: options, sources: sources, files: files,
      checksum: CorpusManifest.checksum(files))
  }
}
