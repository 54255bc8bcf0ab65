import ArgumentParser
import Base
import Training

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Score a run: held-out loss, and translations of held-out sentences.",
    discussion: """
      The loss is that of the last committed generation on what is held out, by task; translations are
      scored by BLEU, chrF2 and chrF++ against the held-out text, by direction.

        pagoda evaluate runs/quickstart
        pagoda evaluate runs/nllb --sentences 200 --beams 4 --json
      """)

  @OptionGroup var options: SpeakingOptions

  @Option(help: "Another file of pairs, text or conversations than the run's data.corpus.")
  var corpus: String?

  @Option(help: "Held-out sentences to translate, spread over the directions; 0: none.")
  var sentences = 128

  func validate() throws {
    if !(0...1 << 20 ~= sentences) {
      throw ValidationError("--sentences must be 0 to \(1 << 20)")
    }
  }

  func run() throws {
    try reportingFailures {
      var (run, config, memory) = try options.open()
      if let corpus { config.data.corpus = corpus }
      let stop = StopSignals.install()
      let evaluation = try RunEvaluation(
        run, config, memory: memory, sentences: sentences, options.text.settings,
        isStopping: { stop.wasAsked })
      if options.json { return try Output.json(evaluation) }
      for line in Self.lines(evaluation) { Output.result(line) }
    }
  }

  private static func lines(_ evaluation: RunEvaluation) -> [String] {
    var lines = ["\(evaluation.run): step \(evaluation.step)"]
    if let heldout = evaluation.heldout {
      lines.append(
        "held-out loss \(fixed(heldout.loss, 4)) nats per target token over \(heldout.tokens); "
          + "unigram entropy \(fixed(evaluation.unigram_entropy, 4))")
      lines += table(
        [["task", "loss", "unigram"]]
          + heldout.loss_by_task.sorted { $0.key < $1.key }.map { task, loss in
            [
              task, fixed(loss, 4), fixed(evaluation.unigram_loss_by_task[task] ?? 0, 4),
            ]
          })
    } else {
      lines.append("nothing is held out")
    }
    guard let translations = evaluation.translations else { return lines }
    let rows = translations.directions.map {
      [
        $0.direction, "\($0.sentences)", fixed($0.bleu, 1), fixed($0.chrf, 1),
        fixed($0.chrf_plus_plus, 1), fixed($0.copy_bleu, 1), fixed($0.copy_chrf, 1),
      ]
    }
    let head = ["direction", "sentences", "BLEU", "chrF2", "chrF++", "copy BLEU", "copy chrF2"]
    return lines + [""] + table([head] + rows)
  }
}
