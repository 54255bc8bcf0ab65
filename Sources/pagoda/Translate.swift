import ArgumentParser
import Base
import Corpus
import Training

struct Translate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Translate lines from stdin with a trained run.",
    discussion: """
      One line in, one line out. The languages are those of the run's corpus, or those that a
      published model knows: --from and --to for NLLB-MoE (deu_Latn), neither for a model that was
      trained on one direction.

        echo 'Save the page' | pagoda translate runs/quickstart --to de --beams 4
        echo 'Save the page' | pagoda translate runs/nllb --from eng_Latn --to deu_Latn
      """)

  @OptionGroup var options: SpeakingOptions

  @Option(help: "The language to translate into, such as de. Default: the run's target_language.")
  var to: String?

  @Option(help: "The language of the lines. Default: the run's source_language.")
  var from: String?

  @Option(help: "Read the lines from this file instead of stdin.")
  var input: String?

  private struct Report: Encodable {
    struct Line: Encodable {
      let source: String
      let translation: String
    }
    let run: String
    let to: String?
    let translations: [Line]
    /// Of all translations, their ends not counted; the time and the bytes of records that they took.
    let tokens: Int
    let seconds: Double
    let tokensPerS: Double
    let readBytes: Int
  }

  func run() throws {
    try reportingFailures {
      var generator = try options.generator()
      let lines = try readLines(input)
      let pairs = lines.map {
        TextPair(source: $0, target: "", sourceLanguage: from, targetLanguage: to)
      }
      for (number, pair) in pairs.enumerated() where try generator.isCut(pair) {
        Output.say("line \(number + 1) is longer than the model can read and was cut")
      }
      let (start, before) = (ContinuousClock.now, generator.bytesRead)
      let answers = try generator.translate(pairs)
      let seconds = (ContinuousClock.now - start).seconds
      let texts = answers.map(\.text)
      // An empty line has nothing to translate; it stays empty.
      let results = zip(lines, texts).map { $0.allSatisfy(\.isWhitespace) ? "" : $1 }
      if options.json {
        let pairs = zip(lines, results).map { Report.Line(source: $0, translation: $1) }
        let tokens = answers.reduce(0) { $0 + $1.tokens }
        try Output.json(
          Report(
            run: options.runDirectory, to: to, translations: pairs, tokens: tokens,
            seconds: seconds, tokensPerS: Double(tokens) / seconds,
            readBytes: generator.bytesRead - before))
      } else {
        for text in results { Output.result(text) }
      }
    }
  }
}
