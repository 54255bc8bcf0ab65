import Base
import Models
import Storage
import Testing
import Training

/// What a sweep is expected to visit before its gates have decided.
@Suite struct LikelyExpertsTests {
  /// Layers of `TinyRun`, with those before the first.
  private static let layers = [nil, 0, 1, 2, 3] as [Int?]

  private func guesses(
    _ session: borrowing TrainingSession, _ mode: Transformer.Mode
  ) -> [[BlockID]] {
    var all: [[BlockID]] = []
    for number in Self.layers { all.append(session.likelyExperts(after: number, in: mode)) }
    return all
  }

  /// Six experts of two slices in each layer that has any.
  @Test func beforeTheFirstSweepAllAreLikely() throws {
    let session = try TinyRun().session()
    let found = guesses(session, .training)
    #expect(found.contains { $0.count == 12 } && found.allSatisfy { [0, 12].contains($0.count) })
    #expect(found.last == [])
    #expect(guesses(session, .evaluation) == found)
  }

  /// Evaluation has so few tokens that experts stay untouched that the next step will visit.
  @Test func evaluationLeavesAloneWhatTrainingGoesBy() throws {
    var run = try TinyRun()
    run.config.training.gradient_accumulation_steps = 4
    run.config.evaluation.max_tokens = 1
    var session = try run.session()
    let first = guesses(session, .training)
    _ = try session.evaluate()
    #expect(guesses(session, .training) == first)
    for _ in 0..<3 {
      _ = try session.runStep()
      let learnt = guesses(session, .training)
      _ = try session.evaluate()
      #expect(guesses(session, .training) == learnt)
      #expect(guesses(session, .evaluation) != learnt)
      let (trained, evaluated) = (
        learnt.joined().count, guesses(session, .evaluation).joined().count
      )
      #expect(evaluated < trained && trained > first.joined().count / 2)
    }
  }
}
