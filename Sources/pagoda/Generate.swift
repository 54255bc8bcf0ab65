import ArgumentParser
import Base
import Training

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Continue or answer lines from stdin with a run of a published model.",
    discussion: """
      Each line is a prompt; a model with an encoder reads it and writes what follows. With --chat a
      line is a question of a conversation, in the words that the model's chat template puts around
      it. Answers are printed in order, each followed by an empty line when there are several.

        echo 'Once upon a time' | pagoda generate runs/olmoe --max-new-tokens 50
        echo 'What is an expert?' | pagoda generate runs/qwen --chat --temperature 0.7 --top-p 0.9
      """)

  @OptionGroup var options: SpeakingOptions

  @Option(help: "Read the prompts from this file instead of stdin.")
  var input: String?

  @Flag(help: "Take each line as a question of a conversation.")
  var chat = false

  // Names are the keys of the JSON.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  private struct Report: Encodable {
    struct Answer: Encodable {
      let prompt: String
      let text: String
      let tokens: Int
      let score: Float
      let is_complete: Bool
    }
    let run: String
    let answers: [Answer]
  }

  func run() throws {
    try reportingFailures {
      var generator = try options.generator()
      let prompts = try readLines(input).filter { !$0.allSatisfy(\.isWhitespace) }
      let answers = try generator.answer(prompts, isChat: chat)
      if options.json {
        let report = zip(prompts, answers).map { prompt, answer in
          Report.Answer(
            prompt: prompt, text: answer.text, tokens: answer.tokens, score: answer.score,
            is_complete: answer.isComplete)
        }
        return try Output.json(Report(run: options.runDirectory, answers: report))
      }
      for answer in answers {
        Output.result(answer.text)
        if answers.count > 1 { Output.result("") }
      }
    }
  }
}
