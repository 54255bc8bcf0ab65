import ArgumentParser
import Base
import Corpus
import Training

extension CorpusCommand {
  /// Sequence-level distillation: the corpus of a student is what its teacher says.
  struct Distill: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write a corpus of what a run makes of training sentences, for a student.",
      discussion: """
        Of one direction, the sources of the run's corpus with the run's own translations as targets;
        held-out text stays what people wrote. A dense student is a model with one expert.

          pagoda corpus distill runs/teacher data/student --task de-en --limit 4000 --beams 4
          pagoda train config.yaml data.corpus=data/student data.tasks=[de-en] model.num_experts=1 \\
            --run runs/student
        """)

    @OptionGroup var options: SpeakingOptions

    @Argument(help: "The directory to write; one that holds a corpus is replaced.")
    var output: String

    @Option(help: "The direction, such as de-en.")
    var task: String

    @Option(help: "Training sentences at most. Default: all.")
    var limit: Int?

    /// Between two looks at what has come.
    private static let sentencesAtOnce = 256

    func validate() throws {
      if let limit, limit < 1 { throw ValidationError("--limit is at least 1") }
    }

    func run() throws {
      try reportingFailures {
        let stop = StopSignals.install()
        var generator = try options.generator()
        guard let corpus = generator.speech.corpus else {
          throw CorpusError.tokenizer(
            cause: "a published model has no prepared corpus",
            remedy: "translate text with `pagoda translate`, and prepare that")
        }
        let distilled = try DistilledCorpus(corpus, task: task, limit: limit)
        var answers: [[Int32]] = []
        var progress = ProgressLine()
        while answers.count < distilled.segments.count {
          let next = distilled.segments[answers.count...].prefix(Self.sentencesAtOnce)
          answers += try generator.translate(
            tokens: next.map(distilled.sourceTokens), from: distilled.source,
            into: distilled.target, isStopping: { stop.wasAsked })
          progress.show("translated \(answers.count) of \(distilled.segments.count)")
        }
        progress.finish()
        let manifest = try distilled.write(
          answers, teacher: "translations by \(options.runDirectory)", to: output)
        if options.json { return try Output.json(manifest) }
        Output.result(
          "\(output): \(manifest.trainingSegments) sentences of \(task) to train on, checksum "
            + manifest.checksum)
      }
    }
  }
}
