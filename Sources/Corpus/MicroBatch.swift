/// Sequences laid end to end, without padding: row i of the source is
/// `sourceTokens[sourceSegments[i]]`, and of the target `targetInput[targetSegments[i]]` with the
/// labels `targetOutput[targetSegments[i]]`. Of a parallel corpus:
///
///     source         <2de> [<denoise>] x1 x2 ... </s>
///     target input   <s> y1 y2 ...
///     target output  y1 y2 ... </s>
///
/// `SequenceLayout` has the others. For a decoder alone the source is empty: no tokens, no segments.
package struct MicroBatch: Equatable, Sendable {
  package internal(set) var sourceTokens: [Int32] = []
  package internal(set) var sourceSegments: [Range<Int>] = []
  package internal(set) var targetInput: [Int32] = []
  package internal(set) var targetOutput: [Int32] = []
  package internal(set) var targetSegments: [Range<Int>] = []
  /// One for each sequence.
  package internal(set) var tasks: [TrainingTask] = []

  /// The label of a target row that is not learned from.
  package static let ignoredLabel: Int32 = -100

  package var sequenceCount: Int { targetSegments.count }
  package var sourceTokenCount: Int { sourceTokens.count }
  package var targetTokenCount: Int { targetOutput.count }
  /// Target rows that are learned from.
  package var labelCount: Int { targetOutput.count { $0 != Self.ignoredLabel } }

  init() {}

  /// Whether a sequence of this size still fits under `tokensMax` tokens on either side.
  func hasRoom(for example: Example, tokensMax: Int) -> Bool {
    hasRoom(source: example.source.count, target: example.target.count + 1, tokensMax: tokensMax)
  }

  /// Whether a sequence of so many tokens on either side still fits under `tokensMax`.
  func hasRoom(source: Int, target: Int, tokensMax: Int) -> Bool {
    sourceTokens.count + source <= tokensMax && targetOutput.count + target <= tokensMax
  }

  mutating func append(_ example: Example) {
    append(source: example.source)
    append(
      input: [SpecialTokens.start] + example.target,
      output: example.target + [SpecialTokens.end], task: example.task)
  }

  /// The source of the sequence whose target comes next; none for a decoder alone.
  mutating func append(source: some Collection<Int32>) {
    let start = sourceTokens.count
    sourceTokens += source
    sourceSegments.append(start..<sourceTokens.count)
  }

  mutating func append(
    input: some Collection<Int32>, output: some Collection<Int32>, task: TrainingTask
  ) {
    precondition(input.count == output.count, "a label for each row")
    let start = targetOutput.count
    targetInput += input
    targetOutput += output
    targetSegments.append(start..<targetOutput.count)
    tasks.append(task)
  }
}

/// One sequence to learn from.
struct Example {
  let task: TrainingTask
  /// With its special tokens.
  let source: [Int32]
  /// The tokens of the text alone.
  let target: [Int32]

  /// `segment` of `shard` as an example of `task`; `draws` are needed for denoising only.
  init(
    _ task: TrainingTask, _ segment: Int, _ shard: TokenShard, _ special: SpecialTokens,
    _ noise: DenoisingNoise, _ draws: inout DenoisingNoise.Draws
  ) {
    let text = shard.tokens(segment, task.source)
    var source = [special.into(task.target)]
    switch task.kind {
    case .denoise:
      source.append(special.denoise)
      source += noise.damaged(text, mask: special.mask, &draws)
    case .translate, .pair, .text, .chat: source += text.map { Int32($0) }
    }
    self.task = task
    self.source = source + [SpecialTokens.end]
    target = shard.tokens(segment, task.target).map { Int32($0) }
  }

  /// Tokens that `segment` needs on its longer side before any noise, special tokens included.
  static func tokensMax(_ task: TrainingTask, _ segment: Int, _ shard: TokenShard) -> Int {
    let tags = task.kind == .denoise ? 2 : 1
    return max(shard.count(segment, task.source) + tags, shard.count(segment, task.target)) + 1
  }
}
