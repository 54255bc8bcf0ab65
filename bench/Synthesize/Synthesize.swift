import ArgumentParser
import Base
import Corpus
import Foundation
import Interchange
import Synchronization
import SyntheticCheckpoint

/// Writes a model folder with weights by seed; `tools/synthetic-checkpoint` builds and runs it.
@main
struct Synthesize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tools/synthetic-checkpoint",
    abstract: "Write a Hugging Face folder of a published model's size, with random weights.",
    discussion: """
      Sharded safetensors with an index, config.json, generation_config.json, and with --corpus a \
      SentencePiece tokenizer trained for the vocabulary. Weights are a function of the seed, \
      with the deviations that transformers starts from. Prints one JSON object. DIR appears whole \
      or not at all; interrupted, run it again.

        tools/synthetic-checkpoint switch-base-8 models/switch --corpus data/quickstart
        tools/synthetic-checkpoint mixtral-8x7b models/mixtral --dtype bf16 --seed 7
        tools/synthetic-checkpoint olmoe-1b-7b models/olmoe --layers 4
        tools/synthetic-checkpoint --config config.json models/mine

      Sizes: \(PublishedSize.all.map(\.name).joined(separator: ", ")).
      """)

  @Argument(
    help: ArgumentHelp(
      "The size, unless --config says it, and the directory to make.",
      valueName: "size> <dir"))
  var words: [String]

  @Option(help: "A config.json of a known family, in place of a published size.")
  var config: String?

  @Option(help: "Layers of each stack of a published size. Default: as published.")
  var layers: Int?

  @Option(help: "fp32 or bf16. Default: what the configuration says.")
  var dtype: WeightType?

  @Option(help: "Decides the weights.") var seed: UInt64 = 1

  @Option(help: "Most bytes of tensors in a file.")
  var shardSize = ByteCount(SyntheticCheckpoint.Options().shardBytes)

  @Option(help: "A prepared corpus or a file of text, a line each, to train a tokenizer on.")
  var corpus: String?

  @Option(help: "Most bytes of text that the tokenizer is trained on.")
  var sample = ByteCount(4_000_000)

  @Option(help: "Threads that make weights and train the tokenizer.") var threads = 2

  func validate() throws {
    guard words.count == (config == nil ? 2 : 1) else {
      throw ValidationError(
        config == nil ? "name a size and a directory" : "name a directory beside --config")
    }
    if config == nil, PublishedSize(named: words[0]) == nil {
      let known = PublishedSize.all.map(\.name).joined(separator: ", ")
      throw ValidationError("there is no size \(words[0]); known are \(known)")
    }
    guard layers == nil || config == nil, 1...1024 ~= layers ?? 1 else {
      throw ValidationError("--layers changes a published size, to 1...1024 layers")
    }
    guard shardSize.bytes > 0, sample.bytes > 0, 1...256 ~= threads else {
      throw ValidationError("--shard-size, --sample and --threads are positive")
    }
  }

  func run() throws {
    do {
      let checkpoint = try SyntheticCheckpoint(try members(), path: config ?? words[0], options)
      let tokenizer = try corpus.map { path in
        let text = try TrainingText(path, bytesMax: sample.bytes)
        say("training a tokenizer on \(text.lines.count) lines")
        return try checkpoint.trainTokenizer(text.lines, languages: text.languages)
      }
      // Before, nothing is on the disk that would have to go.
      StopSignal.install()
      var last = ContinuousClock.now
      let report = try checkpoint.write(
        to: words[words.count - 1], tokenizer: tokenizer, isStopping: { StopSignal.wasAsked },
        observe: { written, total in
          guard ContinuousClock.now - last > .seconds(10) else { return }
          say("written \(ByteCount(written)) of \(ByteCount(total))")
          last = .now
        })
      let encoder = JSONEncoder()
      encoder.keyEncodingStrategy = .convertToSnakeCase
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      print(String(decoding: try encoder.encode(report), as: UTF8.self))
    } catch {
      say("error: \(error)")
      throw ExitCode(Self.status(of: error))
    }
  }

  private func members() throws -> [String: JSONValue] {
    guard let config else {
      guard let size = PublishedSize(named: words[0]) else { return [:] }
      return layers.map { size.configuration(layers: $0) } ?? size.configuration
    }
    guard case .object(let members) = try JSONValue(path: config) else {
      throw InterchangeError.malformed(path: config, offset: 0, cause: "not an object")
    }
    return members
  }

  private var options: SyntheticCheckpoint.Options {
    var options = SyntheticCheckpoint.Options()
    options.type = dtype?.elements
    options.shardBytes = shardSize.bytes
    (options.seed, options.threads) = (seed, threads)
    return options
  }

  private static func status(of error: any Error) -> Int32 {
    switch error {
    case let error as InterchangeError: error.exitCode
    case let error as SynthesisError: error.exitCode
    case is CorpusError: 65
    default: 70
    }
  }

  private func say(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
  }
}

enum WeightType: String, ExpressibleByArgument, CaseIterable {
  case fp32, bf16

  var elements: ElementType { self == .fp32 ? .f32 : .bf16 }
}

extension ByteCount: ExpressibleByArgument {
  package init?(argument: String) { self.init(parsing: argument) }
}

/// Whether SIGINT or SIGTERM came. A second one ends the process, which leaves `DIR.partial` for the
/// next attempt to delete.
enum StopSignal {
  private static let asked = Atomic<Bool>(false)

  static var wasAsked: Bool { asked.load(ordering: .relaxed) }

  static func install() {
    // Made here: a handler must not be the first to touch it.
    precondition(!wasAsked, "nothing was asked before")
    for number in [SIGINT, SIGTERM] {
      signal(number) { number in
        StopSignal.asked.store(true, ordering: .relaxed)
        signal(number, SIG_DFL)
      }
    }
  }
}
