/// The encoded examples of one side (training or held out) of a corpus.
struct ExampleSet: Sendable {
  enum Kind: Sendable {
    /// Source and labels; the target input is `start` and the labels without the last.
    case pair(start: Int32)
    /// A decoder's tokens, see `GivenToken`.
    case continuation
    /// Text to be damaged anew at each draw.
    case corruption(SpanCorruption, start: Int32)
  }

  let kind: Kind
  private var sequences = SequenceStore()
  /// The task of each example, by its place in the corpus's list.
  private(set) var tasks: [UInt16] = []

  init(_ kind: Kind) { self.kind = kind }

  var count: Int { tasks.count }
  var tokenCount: Int { sequences.tokenCount }
  var residentBytes: Int { sequences.residentBytes + 2 * tasks.capacity }

  mutating func append(_ encoded: SequenceEncoder.Encoded, task: UInt16) {
    switch encoded {
    case .pair(let source, let labels):
      sequences.append(source)
      sequences.append(labels)
    case .continuation(let tokens): sequences.append(tokens)
    }
    tasks.append(task)
  }

  /// Gives back what growing has taken in advance.
  mutating func close() {
    sequences.close()
    var closed: [UInt16] = []
    closed.reserveCapacity(tasks.count)
    closed += tasks
    tasks = closed
  }

  /// Rows that an example takes on either side.
  func sizes(of example: Int) -> (source: Int, target: Int) {
    switch kind {
    case .pair:
      (sequences.tokenCount(of: 2 * example), sequences.tokenCount(of: 2 * example + 1))
    case .continuation: (0, sequences.tokenCount(of: example) - 1)
    case .corruption: SpanCorruption.sizes(sequences.tokenCount(of: example))
    }
  }

  func append(
    _ example: Int, of task: TrainingTask, to batch: inout MicroBatch,
    _ draws: inout DenoisingNoise.Draws
  ) {
    switch kind {
    case .pair(let start):
      batch.append(source: sequences[2 * example])
      let labels = sequences[2 * example + 1]
      batch.append(input: [start] + labels.dropLast(), output: labels, task: task)
    case .continuation:
      let stored = sequences[example]
      batch.append(
        input: stored.dropLast().map(GivenToken.token),
        output: stored.dropFirst().map(GivenToken.label), task: task)
    case .corruption(let corruption, let start):
      let (source, labels) = corruption.corrupted(sequences[example], &draws)
      batch.append(source: source)
      batch.append(input: [start] + labels.dropLast(), output: labels, task: task)
    }
  }
}
