import ArgumentParser
import Corpus
import Foundation

extension CorpusCommand {
  /// A published model has a tokenizer of its own: it is given text, not the tokens of a corpus.
  struct Pairs: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write a prepared corpus as a file of pairs, for published models.",
      discussion: """
        Every training sentence with its English, one JSON object a line. Held-out sentences are left
        out; training on the file holds out some of its own (data.held_out).

          pagoda corpus pairs data/quickstart pairs.jsonl --languages de,fr --ask
          pagoda train runs/mine/config.yaml data.corpus=pairs.jsonl --run runs/mine
        """)

    @Argument(help: "The directory that `pagoda corpus prepare` wrote.")
    var corpus: String

    @Argument(help: "The file to write; it must not exist.")
    var file: String

    @Option(help: "Languages beside English, such as de,fr. Default: all.")
    var languages: String?

    @Flag(
      help: "Begin each source with `translate en to de: `, for models without language tokens.")
    var ask = false

    @Flag(help: "Write each pair from English only, not the other way round too.")
    var fromEnglish = false

    // Names are the keys of the JSON.
    // swift-format-ignore: AlwaysUseLowerCamelCase
    private struct Line: Encodable {
      let source: String
      let target: String
      let source_lang: String
      let target_lang: String
    }

    func run() throws {
      try reportingFailures {
        let corpus = try ParallelCorpus.open(corpus)
        let chosen = try chosen(corpus)
        let tokenizer = try corpus.tokenizer()
        guard !FileManager.default.fileExists(atPath: file),
          FileManager.default.createFile(atPath: file, contents: nil),
          let output = FileHandle(forWritingAtPath: file)
        else { throw CorpusError.unwritable(path: file, cause: "it exists, or cannot be made") }
        var count = 0
        for language in chosen {
          for segment in corpus.training.segments(.english, and: language) {
            let lines = lines(corpus, tokenizer, segment, language)
            for line in lines { try output.write(contentsOf: line) }
            count += lines.count
          }
        }
        try output.close()
        Output.result("\(file): \(count) pairs of \(chosen.count) languages with English")
      }
    }

    private func chosen(_ corpus: ParallelCorpus) throws -> [LanguageIndex] {
      guard let languages else { return Array(corpus.languages.dropFirst()) }
      return try languages.split(separator: ",").map { name in
        let tag = name.trimmingCharacters(in: .whitespaces)
        guard let index = corpus.manifest.index(of: tag), index != .english else {
          throw CorpusError.option(
            name: "languages",
            cause: "the corpus has no `\(tag)` beside English; it has "
              + corpus.languages.dropFirst().map(corpus.tag).joined(separator: ", "))
        }
        return index
      }
    }

    private func lines(
      _ corpus: ParallelCorpus, _ tokenizer: Tokenizer, _ segment: Int, _ other: LanguageIndex
    ) -> [Data] {
      let directions =
        [(LanguageIndex.english, other)] + (fromEnglish ? [] : [(other, LanguageIndex.english)])
      return directions.compactMap { source, target in
        func text(_ language: LanguageIndex) -> String {
          tokenizer.decode(corpus.training.tokens(segment, language).map { Int32($0) })
        }
        let (from, to) = (corpus.tag(source), corpus.tag(target))
        let line = Line(
          source: (ask ? "translate \(from) to \(to): " : "") + text(source),
          target: text(target), source_lang: from, target_lang: to)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try? encoder.encode(line) + Data("\n".utf8)
      }
    }
  }
}
