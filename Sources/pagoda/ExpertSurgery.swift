import ArgumentParser
import Base
import Surgery
import Training

extension ExpertCommand {
  struct Prune: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Keep the experts that held-out text uses most, and drop the others.",
      discussion: """
        Without an output directory the run itself loses their records, and the drive gets their room back;
        older generations go, too. Interrupted, the same command ends what was begun.

          pagoda expert prune runs/mine runs/small --keep 8
          pagoda expert prune runs/mine --share 0.2 --encoder-to-decoder 3
          pagoda expert prune runs/mine runs/french --share 0.25 --language fr --language en
          pagoda expert prune runs/mine runs/baseline --keep 8 --random 1
        """)

    @OptionGroup var source: SourceOptions

    @Argument(
      help: ArgumentHelp("Make a new run here, and leave the old one.", valueName: "output"))
    var output: String?

    @Option(help: "Experts to keep in each layer.")
    var keep: Int?

    @Option(help: "The share to keep of all experts that there ever were, above 0 to 1.")
    var share: Double?

    @Option(
      help: "With --share: how many times as many in a layer of the encoder as of the decoder.")
    var encoderToDecoder: Double?

    @Option(help: "Count only text of this language; give it once for each.")
    var language: [String] = []

    @Option(
      help: ArgumentHelp("Choose at random with this seed, as a baseline.", valueName: "seed"))
    var random: UInt64?

    @Option(help: "A directory for the new run's store; once for each drive.")
    var outputStore: [String] = []

    func validate() throws {
      guard (keep == nil) != (share == nil) else {
        throw ValidationError("give either --keep or --share")
      }
      if let keep, keep < 1 { throw ValidationError("--keep is at least 1") }
      if let share, !(share > 0 && share <= 1) { throw ValidationError("--share is above 0, to 1") }
      if let ratio = encoderToDecoder, share == nil || !(ratio > 0 && ratio.isFinite) {
        throw ValidationError("--encoder-to-decoder is a positive number beside --share")
      }
      if random != nil && !language.isEmpty {
        throw ValidationError("--random does not look at languages: leave one out")
      }
      if output == nil && !outputStore.isEmpty {
        throw ValidationError("--output-store is of a new run: name its directory")
      }
    }

    func run() throws {
      try reportingFailures {
        let config = try Pruning.finishInterrupted(source.directory, source.config())
        let pruning = try Pruning(source.directory, config, keeping: selection(config).kept)
        var progress = ByteProgress("moved")
        let report =
          try output.map {
            try pruning.make(RunDirectory($0), storePaths: outputStore) { progress.show($0, $1) }
          } ?? pruning.inPlace { progress.show($0, $1) }
        progress.finish()
        if source.json { return try Output.json(report) }
        let rows = zip(report.kept, report.expertsBefore).enumerated().map { layer, counts in
          ["\(layer)", "\(counts.0.count) of \(counts.1)", NumberList.text(of: counts.0)]
        }
        for line in table([["layer", "kept", "experts"]] + rows) { Output.result(line) }
        Output.result(
          output.map { "\($0): \(ByteCount(report.bytes)) of records fewer" }
            ?? "\(source.runDirectory): \(ByteCount(report.bytes)) given back")
      }
    }

    private func selection(_ config: RunConfig) throws -> ExpertSelection {
      // Chance looks at no text.
      let usage =
        random == nil
        ? try source.usage(config) : try HeldOutUsage(ofNothing: source.directory, config)
      let known = Set(usage.tasks.flatMap { [$0.source, $0.target].compactMap { $0 } })
      for language in language where !known.contains(language) {
        throw TrainingError.unknownLanguage(language, known: known.sorted())
      }
      let amount: ExpertSelection.Amount =
        if let keep {
          .each(keep)
        } else if let encoderToDecoder {
          .balanced(share: share ?? 1, encoderToDecoder: encoderToDecoder)
        } else {
          .share(share ?? 1)
        }
      return ExpertSelection(
        language.isEmpty ? usage : usage.limited(to: Set(language)), amount,
        by: random.map { .random(seed: $0) } ?? .utilisation,
        least: try config.expertsPerToken())
    }
  }

  struct Extract: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Take the part of a run that one task needs out, as a run of its own.",
      discussion: """
        For runs whose gates decide by task: the dense part, and of those layers the task's experts alone.
        On its task the new run computes what the old one computes, bit for bit.

          pagoda expert extract runs/mine runs/de-en --task de-en
          echo 'Guten Tag' | pagoda translate runs/de-en --from de --to en
        """)

    @OptionGroup var source: SourceOptions

    @Argument(help: ArgumentHelp("The run directory to make.", valueName: "output"))
    var output: String

    @Option(help: "Such as de-en; where gates decide by target language, en alone is enough.")
    var task: String

    @Option(help: "A directory for the new run's store; once for each drive.")
    var outputStore: [String] = []

    func run() throws {
      try reportingFailures {
        let extraction = try Extraction(
          source.directory, source.config(), task: task,
          memory: source.memory.map { "\($0.bytes)" }, storePaths: outputStore)
        var progress = ByteProgress("taken over")
        let report = try extraction.make(RunDirectory(output)) { progress.show($0, $1) }
        progress.finish()
        if source.json { return try Output.json(report) }
        let counts = zip(report.experts, report.expertsBefore).map { "\($0) of \($1)" }
        Output.result(
          "\(output): \(task), \(report.records) records (\(ByteCount(report.bytes))); experts by "
            + "layer: \(counts.joined(separator: ", "))")
      }
    }
  }

  struct Aggregate: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Unite the experts of two runs: shared weights averaged, gates stacked.",
      discussion: """
        The new run has twice the experts, and can be trained on. With --moments keep, records of experts
        are taken over as they are (shared with the old ones where the file system can) and the run goes on
        at its step; with zero it begins at step 0 with the weights alone.

          pagoda expert aggregate runs/a runs/b runs/both
          pagoda train runs/both/config.yaml --run runs/both --steps 400
        """)

    @Argument(help: "The first run, whose configuration the new one takes over.")
    var first: String

    @Argument(help: "The second run.")
    var second: String

    @Argument(help: ArgumentHelp("The run directory to make.", valueName: "output"))
    var output: String

    @Option(help: "What becomes of the moments: keep or zero.")
    var moments = Aggregation.Moments.keep

    @Option(help: "A directory for the new run's store; once for each drive.")
    var outputStore: [String] = []

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
      try reportingFailures {
        func opened(_ path: String) throws -> (directory: RunDirectory, config: RunConfig) {
          (RunDirectory(path), try RunDirectory(path).config(storePaths: []))
        }
        let aggregation = try Aggregation(
          opened(first), opened(second), moments: moments, storePaths: outputStore)
        var progress = ByteProgress("taken over")
        let report = try aggregation.make(RunDirectory(output)) { progress.show($0, $1) }
        progress.finish()
        if json { return try Output.json(report) }
        Output.result(
          "\(output): \(report.experts) experts a layer at step \(report.step); \(report.adopted) "
            + "records taken over, \(report.written) written anew")
      }
    }
  }
}

extension Aggregation.Moments: ExpressibleByArgument {}
