import Foundation

/// What transformers' `generate` makes of a checkpoint: `Goldens/generation.json`.
package struct GenerationGolden: Decodable, Sendable {
  package struct Case: Decodable, Sendable {
    package let beams: Int
    package let lengthPenalty: Double
    package let earlyStopping: Bool
    /// By prompt, all hypotheses, best first: their new tokens without the end.
    package let tokens: [[[Int32]]]
    /// nil of greedy search.
    package let scores: [[Float]]?
  }

  package let ends: [Int32]
  package let forcedFirst: Int32?
  package let newTokens: Int
  package let prompts: [[Int32]]
  package let cases: [Case]

  /// By name of the checkpoint.
  package static func all() throws -> [String: GenerationGolden] {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent()
    let bytes = try Data(contentsOf: tests.appendingPathComponent("Goldens/generation.json"))
    return try JSONDecoder().decode([String: GenerationGolden].self, from: bytes)
  }
}
