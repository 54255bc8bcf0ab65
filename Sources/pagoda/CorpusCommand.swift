import ArgumentParser
import Corpus
import Foundation

struct CorpusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "corpus", abstract: "Prepare text for training.",
    subcommands: [Prepare.self, Pairs.self, Distill.self])

  struct Prepare: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a tokenised multilingual corpus out of unpacked Debian packages.",
      discussion: """
        Reads MediaWiki's and gettext's message catalogues and GNOME's help pages, cleans and aligns them,
        keeps a share of the English sentences (with all their translations) out of training, trains a
        SentencePiece vocabulary, and writes token shards.

          tools/setup data
          pagoda corpus prepare --packages data/packages --output data/mine --top 40

          tools/setup catalogues
          pagoda corpus prepare --packages data/catalogues --output data/fifty --top 50
        """)

    @Option(help: "The directory that `tools/setup data` unpacked packages into.")
    var packages: String

    @Option(help: "The directory to write; one that holds a corpus is replaced.")
    var output: String

    @Option(help: "Languages beside English, such as de,fr,zh_Hans.")
    var languages: String?

    @Option(help: "Take so many languages with the most text instead.")
    var top: Int?

    @Option(help: "Pieces of the vocabulary.")
    var vocabulary = 8000

    @Option(name: .customLong("segments"), help: "Training segments of each language at most.")
    var segmentsPerLanguage = 8000

    @Option(help: "Share of the English sentences that no training sees.")
    var heldOut = 0.04

    @Option(help: "Decides which segments are kept where there are too many.")
    var seed: UInt64 = 1

    @Flag(help: "Print corpus.json on stdout.")
    var json = false

    func validate() throws {
      if languages != nil && top != nil {
        throw ValidationError("--languages and --top exclude each other")
      }
    }

    func run() throws {
      try reportingFailures {
        var options = CorpusPreparation.Options()
        if let languages {
          options.languages = .tags(
            languages.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) })
        } else {
          options.languages = .top(top ?? 24)
        }
        options.segmentsPerLanguageMax = segmentsPerLanguage
        options.heldOutShare = heldOut
        options.seed = seed
        options.tokenizer.vocabularySize = vocabulary
        let manifest = try CorpusPreparation(
          inputs: try packageDirectories(), output: output, options: options
        ).run { Output.say($0) }
        if json {
          return Output.result(try String(contentsOfFile: "\(output)/corpus.json", encoding: .utf8))
        }
        for line in report(manifest) { Output.result(line) }
      }
    }

    private func packageDirectories() throws -> [String] {
      guard let entries = try? FileManager.default.contentsOfDirectory(atPath: packages) else {
        throw CorpusError.missingInput(path: packages)
      }
      return entries.sorted().filter { !$0.hasPrefix(".") }.map { "\(packages)/\($0)" }
    }

    private func report(_ manifest: CorpusManifest) -> [String] {
      let rows = manifest.languages.map {
        ["\($0.tag)", "\($0.trainingSegments)", "\($0.heldOutSegments)", "\($0.trainingTokens)"]
      }
      return table([["language", "training", "held out", "tokens"]] + rows) + [
        "\(output): \(manifest.trainingSegments) English sentences to train on, "
          + "\(manifest.heldOutSegments) held out, checksum \(manifest.checksum)"
      ]
    }
  }
}
