import Foundation

/// Which tasks a run trains on, and how often each is drawn.
package struct TaskMix: Equatable, Sendable {
  package enum Pairs: String, Codable, CaseIterable, Sendable {
    /// From and into English.
    case english
    /// Every ordered pair of languages that has segments.
    case all
  }

  /// Share of sequences that are denoised rather than translated.
  package var denoiseShare = 0.2
  package var pairs = Pairs.english
  /// Flattens the differences between languages: a pair with the share q of the data is drawn with
  /// a probability proportional to q^(1/temperature). 1 keeps the shares; large values even them
  /// out.
  package var temperature = 5.0
  /// Tasks that the sequences of a step are drawn from, themselves drawn anew for each step; some may be
  /// the same. nil: each sequence draws its own.
  package var tasksPerStep: Int?
  package var noise = DenoisingNoise()
  /// Those of `pairs` and of denoising that are drawn.
  package var tasks = TaskFilter()

  package init() {}

  /// A bound on the memory of a sampler's lists, four bytes a segment: one list for each pair of
  /// languages, English first in `segments`, and one for each language to denoise.
  package func listBytesMax(segments: [Int]) -> Int {
    var count = segments.reduce(0, +)
    for (place, first) in segments.enumerated() where place == 0 || pairs == .all {
      count += segments[(place + 1)...].reduce(0) { $0 + min($1, first) }
    }
    return 4 * count
  }

  /// - Throws: `CorpusError.option` for the first value that means nothing.
  func check() throws(CorpusError) {
    let shares = [
      ("denoise share", denoiseShare), ("mask rate", noise.maskRate),
      ("deletion rate", noise.deletionRate),
    ]
    for (name, share) in shares where !(0 <= share && share <= 1) {
      throw .option(name: name, cause: "\(share) is not between 0 and 1")
    }
    if let tasksPerStep, tasksPerStep < 1 {
      throw .option(name: "tasks per step", cause: "\(tasksPerStep) is less than 1")
    }
    guard temperature > 0 else {
      throw .option(name: "temperature", cause: "\(temperature) is not positive")
    }
    guard noise.spanTokensMean >= 1 else {
      throw .option(name: "span tokens", cause: "\(noise.spanTokensMean) is less than 1")
    }
  }
}

/// The tasks of a mix over one corpus, with their probabilities and the segments each may draw.
struct TaskTable: Sendable {
  struct Entry: Sendable {
    let task: TrainingTask
    let probability: Double
    /// Place in `lists`.
    let list: Int
  }

  private(set) var entries: [Entry] = []
  /// Segments of the training shard; the two directions of a pair share a list.
  private(set) var lists: [[UInt32]] = []
  /// Running sums of the probabilities.
  private(set) var cumulative: [Double] = []

  /// `admits` says whether a segment is short enough for a task. Where none is, the table is empty.
  /// - Throws: `CorpusError.option` for tasks of unknown languages.
  init(
    corpus: ParallelCorpus, mix: TaskMix, admits: (TrainingTask, _ segment: Int) -> Bool
  ) throws(CorpusError) {
    let isWanted = try mix.tasks.admitted(of: corpus.manifest)
    var translations: [(task: TrainingTask, list: Int)] = []
    for a in corpus.languages {
      for b in corpus.languages where a < b && (a == .english || mix.pairs == .all) {
        let forth = TrainingTask.translate(a, b)
        let back = TrainingTask.translate(b, a)
        let wanted = [forth, back].filter(isWanted)
        guard !wanted.isEmpty,
          let list = addList(
            corpus.training.segments(a, and: b).filter { admits(forth, $0) && admits(back, $0) })
        else { continue }
        translations += wanted.map { ($0, list) }
      }
    }
    var denoisings: [(task: TrainingTask, list: Int)] = []
    for language in corpus.languages {
      let task = TrainingTask.denoise(language)
      guard isWanted(task) else { continue }
      let segments = corpus.training.segments(language, and: language).filter { admits(task, $0) }
      if let list = addList(segments) { denoisings.append((task, list)) }
    }
    // A kind that has no segments leaves its share to the other.
    let denoiseShare = translations.isEmpty ? 1 : denoisings.isEmpty ? 0 : mix.denoiseShare
    add(translations, share: 1 - denoiseShare, temperature: mix.temperature)
    add(denoisings, share: denoiseShare, temperature: mix.temperature)
    cumulative = entries.reduce(into: []) { $0.append(($0.last ?? 0) + $1.probability) }
  }

  var residentBytes: Int {
    lists.reduce(0) { $0 + 4 * $1.count } + entries.count * MemoryLayout<Entry>.stride
  }

  /// The entry that `unit` in [0, 1) falls on.
  func entry(at unit: Double) -> Entry {
    let goal = unit * (cumulative.last ?? 0)
    var (low, high) = (0, entries.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if cumulative[middle] > goal { high = middle } else { low = middle + 1 }
    }
    return entries[low]
  }

  private mutating func addList(_ segments: [Int]) -> Int? {
    guard !segments.isEmpty else { return nil }
    lists.append(segments.map { UInt32($0) })
    return lists.count - 1
  }

  /// Gives `tasks` together the probability `share`, each by its number of segments.
  private mutating func add(
    _ tasks: [(task: TrainingTask, list: Int)], share: Double, temperature: Double
  ) {
    guard share > 0, !tasks.isEmpty else { return }
    let total = Double(tasks.reduce(0) { $0 + lists[$1.list].count })
    let weights = tasks.map { pow(Double(lists[$0.list].count) / total, 1 / temperature) }
    let sum = weights.reduce(0, +)
    for (task, weight) in zip(tasks, weights) {
      entries.append(
        Entry(task: task.task, probability: share * weight / sum, list: task.list))
    }
  }
}
