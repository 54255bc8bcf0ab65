import ArgumentParser
import Base
import Foundation
import Layers
import Training

/// How text is generated, alike for all commands that do.
struct TextOptions: ParsableArguments {
  @Option(help: "Beams of a beam search. Default: the likeliest token each time.")
  var beams: Int?

  @Option(help: "Ranks beams by score / length^PENALTY; above 1 favours long answers.")
  var lengthPenalty = 1.0

  @Option(help: "Draws tokens instead; below 1 the likely ones more often.")
  var temperature: Float?

  @Option(help: "Draws from the likeliest tokens that together have this probability.")
  var topP: Float?

  @Option(help: "Draws from so many likeliest tokens.")
  var topK: Int?

  @Option(help: "What the draws depend on: the same seed draws the same.")
  var seed: UInt64 = 1

  @Option(help: "Most tokens of an answer.")
  var maxNewTokens: Int?

  @Option(help: "Most tokens of a prompt. Default: the run's data.max_sequence_tokens.")
  var maxPromptTokens: Int?

  private var isDrawn: Bool { temperature != nil || topP != nil || topK != nil }

  func validate() throws {
    if let beams, beams < 1 { throw ValidationError("--beams must be at least 1") }
    if beams != nil && isDrawn {
      throw ValidationError("--beams does not go with --temperature, --top-p and --top-k")
    }
    if let temperature, !(temperature >= 0 && temperature.isFinite) {
      throw ValidationError("--temperature must be 0 or more")
    }
    if let topP, !(topP > 0 && topP <= 1) {
      throw ValidationError("--top-p must be above 0 and at most 1")
    }
    if let topK, topK < 1 { throw ValidationError("--top-k must be at least 1") }
    if !lengthPenalty.isFinite { throw ValidationError("--length-penalty must be a number") }
    for (name, value) in [
      ("--max-new-tokens", maxNewTokens), ("--max-prompt-tokens", maxPromptTokens),
    ] {
      if let value, !(1...1 << 20 ~= value) {
        throw ValidationError("\(name) must be 1 to \(1 << 20)")
      }
    }
  }

  var settings: TextGenerator.Settings {
    var settings = TextGenerator.Settings()
    if isDrawn {
      settings.method = .sampling(
        TokenSampler(
          temperature: temperature ?? 1, topK: topK, topP: topP ?? 1, seed: seed))
    } else if let beams, beams > 1 {
      settings.method = .beams(BeamOptions(count: beams, lengthPenalty: lengthPenalty))
    }
    (settings.newTokens, settings.promptTokens) = (maxNewTokens, maxPromptTokens)
    return settings
  }
}

/// Lines of a file, or of stdin.
func readLines(_ input: String?) throws -> [String] {
  guard let input else {
    var lines: [String] = []
    while let line = readLine() { lines.append(line) }
    return lines
  }
  guard let text = try? String(contentsOfFile: input, encoding: .utf8) else {
    throw TrainingError.unreadableInput(path: input)
  }
  return text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    .dropLast(text.hasSuffix("\n") ? 1 : 0)
}
