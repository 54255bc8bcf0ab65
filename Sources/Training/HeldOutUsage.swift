import Corpus
import Kernels
import Layers
import Models

/// Which experts the held-out text goes to, by task: tokens before any is dropped, at the last
/// committed generation.
package struct HeldOutUsage: Codable, Sendable {
  package struct Layer: Codable, Sendable {
    /// Counts layers with experts in forward order.
    package let layer: Int
    package let isEncoder: Bool
    /// The numbers of those that are there, ascending.
    package let experts: [Int]
    /// Tokens, [tasks, experts]; a token counts once for each expert that it chooses.
    package var tokens: [[Int]]
    /// Choices by the tenth of the micro-batch that the token lies in, and those of them that found room:
    /// who chooses among the tokens of a full expert shows in their ratio.
    package internal(set) var choicesByTenth = Array(repeating: 0, count: 10)
    package internal(set) var keptByTenth = Array(repeating: 0, count: 10)

    /// Of all tasks, by expert.
    package var total: [Int] {
      tokens.reduce(Array(repeating: 0, count: tokens.first?.count ?? 0)) { sum, row in
        zip(sum, row).map(+)
      }
    }
  }

  package let run: String
  package let step: Int
  /// In the order of the rows of `tokens`.
  package let tasks: [Task]
  package var layers: [Layer]

  package struct Task: Codable, Sendable, Hashable {
    /// `translate de-en`, `denoise de`.
    package let name: String
    /// Tags; nil where nobody named languages.
    package let source: String?
    package let target: String?
  }

  /// - Parameter memory: the ceiling of this process.
  /// - Throws: `TrainingError.nothingToResume`; `ConfigError` where nothing is held out;
  ///   `MemoryRefusal`, `StorageError`, `CorpusError`.
  package init(_ run: RunDirectory, _ config: RunConfig, memory: Int) throws {
    var tally: Tally?
    let loss = try HeldOutLoss(run, config, memory: memory) { set, model, microBatches in
      tally = tally ?? Tally(set, model.description)
      tally?.add(model, microBatches)
    }
    guard let tally else {
      throw ConfigError(
        key: "data.corpus", problem: "nothing of it is held out, so nothing can be counted",
        remedy: "hold some out: data.held_out of a file, --held-out of `pagoda corpus prepare`")
    }
    let corpus =
      try config.publishedModel() == nil
      ? ParallelCorpus.readManifest(config.data.corpus) : nil
    self.run = run.path
    step = loss.step
    layers = tally.layers
    tasks = tally.tasks.map { task, name in
      func tag(_ language: LanguageIndex) -> String? {
        corpus?.languages[language.rawValue].tag
      }
      return Task(name: name, source: tag(task.source), target: tag(task.target))
    }
  }

  /// Of nothing: the layers and experts that the run of `config` has, without any token.
  /// - Throws: what its description throws.
  package init(ofNothing run: RunDirectory, _ config: RunConfig) throws {
    let model = try config.description()
    (self.run, step, tasks) = (run.path, 0, [])
    layers = model.layers.compactMap { layer in
      layer.mixture.map {
        Layer(
          layer: $0, isEncoder: layer.side == .encoder, experts: model.keptExperts(of: $0),
          tokens: [Array(repeating: 0, count: model.experts.count)])
      }
    }
  }

  /// Sums while sweeps go by.
  private struct Tally {
    var layers: [Layer]
    let tasks: [(task: TrainingTask, name: String)]
    private let numbers: [TrainingTask: Int]

    init(_ set: EvaluationSet, _ model: ModelDescription) {
      tasks = set.names.map { (task: $0, name: $1) }.sorted { $0.name < $1.name }
      numbers = Dictionary(uniqueKeysWithValues: tasks.enumerated().map { ($1.task, $0) })
      let none = Array(
        repeating: Array(repeating: 0, count: model.experts.count), count: tasks.count)
      layers = model.layers.compactMap { layer in
        layer.mixture.map {
          Layer(
            layer: $0, isEncoder: layer.side == .encoder, experts: model.keptExperts(of: $0),
            tokens: none)
        }
      }
    }

    mutating func add(_ model: Transformer, _ microBatches: ArraySlice<MicroBatch>) {
      for layer in layers.indices {
        for (routing, batch) in zip(model.routings[layer].gates, microBatches) {
          let segments = layers[layer].isEncoder ? batch.sourceSegments : batch.targetSegments
          for (task, rows) in zip(batch.tasks, segments) {
            guard let row = numbers[task] else { preconditionFailure("every task has a name") }
            let k = routing.choicesPerToken
            for choice in rows.lowerBound * k..<rows.upperBound * k
            where routing.choice[choice] >= 0 {
              layers[layer].tokens[row][Int(routing.choice[choice])] += 1
              let tenth = 10 * (choice / k) / routing.tokens
              layers[layer].choicesByTenth[tenth] += 1
              layers[layer].keptByTenth[tenth] += routing.kept[choice] ? 1 : 0
            }
          }
        }
      }
    }
  }
}
