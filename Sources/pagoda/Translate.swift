import ArgumentParser
import Base
import Foundation
import Training

struct Translate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Translate lines from stdin with a trained run.",
    discussion: """
      One line in, one line out. The source may be any language of the run's corpus.

        echo 'Save the page' | pagoda translate runs/quickstart --to de
      """)

  @Argument(help: ArgumentHelp("The run directory.", valueName: "run"))
  var runDirectory: String

  @Option(help: "The language to translate into, such as de.")
  var to: String

  @Option(help: "Read the lines from this file instead of stdin.")
  var input: String?

  @Option(help: "The ceiling on the memory of the whole process. Default: the run's.")
  var memory: ByteCount?

  @Option(help: "A directory of the store, as given to train. Default: the run's.")
  var store: [String] = []

  @Flag(help: "Print one JSON object with all translations.")
  var json = false

  private struct Report: Encodable {
    struct Line: Encodable {
      let source: String
      let translation: String
    }
    let run: String
    let to: String
    let translations: [Line]
  }

  func run() throws {
    try reportingFailures {
      let directory = RunDirectory(runDirectory)
      guard var config = try directory.savedConfig() else {
        throw TrainingError.noRun(path: runDirectory)
      }
      if !store.isEmpty { config.storage.paths = store }
      let ceiling =
        try memory?.bytes ?? config.bytes(config.memory.budget, key: "memory.budget")
      var translator = try Translator(directory, config, memory: ceiling)
      let target = try translator.language(to)
      let lines = try readLines()
      let prepared = lines.map { translator.source($0, to: target) }
      for (number, source) in prepared.enumerated() where source.isCut {
        Output.say("line \(number + 1) is longer than the model can read and was cut")
      }
      let texts = try translator.translate(prepared.map(\.tokens))
      // An empty line has nothing to translate; it stays empty.
      let results = zip(lines, texts).map { $0.allSatisfy(\.isWhitespace) ? "" : $1 }
      if json {
        let pairs = zip(lines, results).map { Report.Line(source: $0, translation: $1) }
        try Output.json(Report(run: runDirectory, to: to, translations: pairs))
      } else {
        for text in results { Output.result(text) }
      }
    }
  }

  private func readLines() throws -> [String] {
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
}
