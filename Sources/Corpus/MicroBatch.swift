/// Sequences laid end to end, without padding: row i of the source is
/// `sourceTokens[sourceSegments[i]]`, and of the target `targetInput[targetSegments[i]]` with the
/// labels `targetOutput[targetSegments[i]]`.
///
///     source         <2de> [<denoise>] x1 x2 ... </s>
///     target input   <s> y1 y2 ...
///     target output  y1 y2 ... </s>
package struct MicroBatch: Equatable, Sendable {
  package internal(set) var sourceTokens: [Int32] = []
  package internal(set) var sourceSegments: [Range<Int>] = []
  package internal(set) var targetInput: [Int32] = []
  package internal(set) var targetOutput: [Int32] = []
  package internal(set) var targetSegments: [Range<Int>] = []
  /// One for each sequence.
  package internal(set) var tasks: [TrainingTask] = []

  package var sequenceCount: Int { tasks.count }
  package var sourceTokenCount: Int { sourceTokens.count }
  package var targetTokenCount: Int { targetOutput.count }

  init() {}

  /// Whether a sequence of this size still fits under `tokensMax` tokens on either side.
  func hasRoom(for example: Example, tokensMax: Int) -> Bool {
    sourceTokens.count + example.source.count <= tokensMax
      && targetOutput.count + example.target.count + 1 <= tokensMax
  }

  mutating func append(_ example: Example) {
    let sourceStart = sourceTokens.count
    sourceTokens += example.source
    sourceSegments.append(sourceStart..<sourceTokens.count)
    let targetStart = targetOutput.count
    targetInput.append(SpecialTokens.start)
    targetInput += example.target
    targetOutput += example.target
    targetOutput.append(SpecialTokens.end)
    targetSegments.append(targetStart..<targetOutput.count)
    tasks.append(example.task)
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
    case .translate: source += text.map { Int32($0) }
    case .denoise:
      source.append(special.denoise)
      source += noise.damaged(text, mask: special.mask, &draws)
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
