import Glibc
import Layers

/// One sequence while it is generated: the hypotheses that go on, and those that have ended. It
/// knows no model: the likeliest continuations of each hypothesis come from outside.
struct SequenceSearch {
  struct Hypothesis {
    /// New ones.
    var tokens: [Int32]
    var score: Float
  }

  /// Those that go on, best first; none when the search is over.
  private(set) var live: [Hypothesis]
  /// For each of them, which it continues of those before the last step.
  private(set) var parents = [0]
  /// Best first.
  private(set) var ended: [GeneratedSequence] = []
  private let beams: BeamOptions?
  private let endTokens: [Int32]
  private let newTokensMax: Int

  init(_ request: GenerationRequest, _ options: GenerationOptions) {
    if case .beams(let beams) = options.method { self.beams = beams } else { beams = nil }
    endTokens = options.endTokens
    newTokensMax = request.newTokensMax
    live = [Hypothesis(tokens: [], score: 0)]
    if let token = request.firstToken {
      continueAlone(TokenChoice(token: token, logProbability: 0))
    }
  }

  /// Of each hypothesis, so many likeliest continuations decide.
  static func width(_ options: GenerationOptions) -> Int {
    guard case .beams(let beams) = options.method else { return 1 }
    // Each beam may end with every token that ends, and as many hypotheses as beams must go on.
    return max(2, 1 + options.endTokens.count) * beams.count
  }

  /// Goes one token further.
  /// - Parameter choices: the continuations of each hypothesis, likeliest first.
  mutating func advance(_ choices: [[TokenChoice]]) {
    precondition(choices.count == live.count, "continuations of each hypothesis")
    if let beams {
      advance(choices, beams)
    } else {
      continueAlone(choices[0][0])
    }
  }

  /// Without beams.
  private mutating func continueAlone(_ choice: TokenChoice) {
    let isEnd = endTokens.contains(choice.token)
    live[0].score += choice.logProbability
    if !isEnd { live[0].tokens.append(choice.token) }
    guard isEnd || live[0].tokens.count == newTokensMax else { return }
    ended = [
      GeneratedSequence(tokens: live[0].tokens, score: live[0].score, isComplete: isEnd)
    ]
    (live, parents) = ([], [])
  }

  // MARK: Beams

  private struct Candidate {
    let parent: Int
    let token: Int32
    let score: Float
  }

  private mutating func advance(_ choices: [[TokenChoice]], _ beams: BeamOptions) {
    let length = live[0].tokens.count + 1
    let divisor = Float(pow(Double(length), beams.lengthPenalty))
    var next: [Candidate] = []
    for (rank, candidate) in ranked(choices, beams).enumerated() {
      let isEnd = endTokens.contains(candidate.token)
      if !isEnd, length < newTokensMax {
        if next.count < beams.count { next.append(candidate) }
      } else if rank < beams.count {
        let tokens = live[candidate.parent].tokens + (isEnd ? [] : [candidate.token])
        let score = candidate.score / divisor
        insert(
          GeneratedSequence(tokens: tokens, score: score, isComplete: isEnd), beams.count)
      }
    }
    let isOver =
      ended.count == beams.count
      && (beams.stopsEarly || !canImprove(next.first, divisor))
    (live, parents) = isOver ? ([], []) : (next.map(continued), next.map(\.parent))
  }

  /// The best continuations of all hypotheses together, equal ones in the order of hypotheses.
  private func ranked(_ choices: [[TokenChoice]], _ beams: BeamOptions) -> [Candidate] {
    let all = choices.enumerated().flatMap { parent, choices in
      choices.map {
        Candidate(
          parent: parent, token: $0.token, score: live[parent].score + $0.logProbability)
      }
    }
    let order = all.indices.sorted { (all[$1].score, $0) < (all[$0].score, $1) }
    return order.prefix(max(2, 1 + endTokens.count) * beams.count).map { all[$0] }
  }

  /// Whether the best that goes on, if it ended here, would be better than the worst that is kept:
  /// what transformers takes for the chance that something better comes.
  private func canImprove(_ best: Candidate?, _ divisor: Float) -> Bool {
    guard let best, let worst = ended.last else { return false }
    return best.score / divisor > worst.score
  }

  private mutating func insert(_ sequence: GeneratedSequence, _ count: Int) {
    let place = ended.firstIndex { $0.score < sequence.score } ?? ended.count
    ended.insert(sequence, at: place)
    if ended.count > count { ended.removeLast() }
  }

  private func continued(_ candidate: Candidate) -> Hypothesis {
    Hypothesis(tokens: live[candidate.parent].tokens + [candidate.token], score: candidate.score)
  }
}
