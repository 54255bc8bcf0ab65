package import Layers
package import Models

/// How tokens are chosen, and what begins and ends a sequence.
package struct GenerationOptions: Sendable {
  package enum Method: Sendable {
    /// The likeliest token, each time.
    case greedy
    case beams(BeamOptions)
    case sampling(TokenSampler)
  }

  package var method: Method
  /// What the decoder begins with where there is an encoder.
  package var startToken: Int32
  /// Tokens that end a sequence.
  package var endTokens: [Int32]

  package init(method: Method = .greedy, startToken: Int32 = 0, endTokens: [Int32]) {
    (self.method, self.startToken, self.endTokens) = (method, startToken, endTokens)
  }
}

/// Beam search as transformers does it: hypotheses are ranked by the sum of the logarithms of their
/// tokens' probabilities, divided by length^lengthPenalty once they have ended.
package struct BeamOptions: Sendable {
  /// Hypotheses of each sequence that go on, and the most that are kept of those that ended.
  package var count: Int
  /// Above 1 favours long sequences.
  package var lengthPenalty: Double
  /// Whether a search ends with so many hypotheses as there are beams, even if a better one could
  /// come.
  package var stopsEarly: Bool

  package init(count: Int, lengthPenalty: Double = 1, stopsEarly: Bool = false) {
    precondition(count > 0, "at least one beam")
    (self.count, self.lengthPenalty, self.stopsEarly) = (count, lengthPenalty, stopsEarly)
  }
}

extension GenerationOptions.Method {
  /// Slots of the cache that a sequence takes.
  var beams: Int {
    if case .beams(let beams) = self { beams.count } else { 1 }
  }
}

/// A sequence to be generated.
package struct GenerationRequest: Sendable {
  /// What the encoder reads; of a decoder alone, what it continues.
  package var prompt: [Int32]
  package var newTokensMax: Int
  /// What the sequence begins with, whatever the model thinks: the language of a translation. It
  /// counts as new.
  package var firstToken: Int32?
  /// What gates by task look at.
  package var task: SequenceTask?
  /// Keys the draws of sampling: the same number draws the same, whatever is generated beside.
  package var number: Int

  package init(
    prompt: [Int32], newTokensMax: Int, firstToken: Int32? = nil, task: SequenceTask? = nil,
    number: Int = 0
  ) {
    (self.prompt, self.newTokensMax) = (prompt, newTokensMax)
    (self.firstToken, self.task, self.number) = (firstToken, task, number)
  }
}

package struct GeneratedSequence: Sendable, Equatable {
  /// All new tokens but the one that ends the sequence.
  package let tokens: [Int32]
  /// The sum of the logarithms of the tokens' probabilities, the end's included and a given first
  /// token's not; of beam search, divided by length^lengthPenalty.
  package let score: Float
  /// Whether it ended by itself, not at the most tokens.
  package let isComplete: Bool

  package init(tokens: [Int32], score: Float, isComplete: Bool) {
    (self.tokens, self.score, self.isComplete) = (tokens, score, isComplete)
  }
}

/// What a generator has memory for.
package struct GenerationLimits: Sendable, Equatable {
  /// Sequences generated together.
  package var sequences: Int
  package var beams: Int
  package var promptTokens: Int
  package var newTokens: Int

  package static let sequencesMax = 32
  /// Rows that a step has for each sequence: prompts of this length are read all at once.
  private static let rowsPerSequence = 64

  package init(
    sequences: Int = Self.sequencesMax, beams: Int = 1, promptTokens: Int, newTokens: Int
  ) {
    precondition(sequences > 0 && beams > 0, "something to generate")
    precondition(promptTokens > 0 && newTokens > 0, "room for tokens")
    (self.sequences, self.beams) = (sequences, beams)
    (self.promptTokens, self.newTokens) = (promptTokens, newTokens)
  }

  /// Rows of one step, and of one sweep of the encoder: a prompt and a given first token at least.
  var rows: Int { max(promptTokens + 1, sequences * max(Self.rowsPerSequence, beams)) }

  /// What the model must be built for.
  package func batch(_ model: ModelDescription) -> BatchLimits {
    BatchLimits(
      microBatches: 1, microBatchRows: rows, sequenceRows: max(promptTokens, positions(model)),
      expertRows: rows)
  }

  package func cache(_ model: ModelDescription) -> DecodingCache.Limits {
    DecodingCache.Limits(
      sequences: sequences, beams: beams, positions: positions(model),
      sourceRows: model.encoder == nil ? 0 : rows)
  }

  /// Tokens that the decoder is given of one sequence: nothing follows the last.
  private func positions(_ model: ModelDescription) -> Int {
    (model.encoder == nil ? promptTokens : 1) + newTokens - 1
  }
}
