import ArgumentParser
import Corpus
import Foundation
import TestSupport

/// Damages the files of a store at random; `tools/decay` builds and runs it.
@main
struct Decay: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Flips bits and cuts files of a store; `verify` and training must notice.",
    discussion: """
      Prints a line before each trial and one of JSON at the end: what was tried and what became \
      of it. A trial in which damage was missed or a loss changed is named; then the end is 1.
      """)

  @Option(help: "Decides what each trial does.") var seed: UInt64 = 1
  @Option(help: "How many trials there are.") var trials = 10_000
  @Option(help: "The first one.") var first = 0
  @Option(help: "Only every so many-th.") var stride = 1

  func validate() throws {
    guard trials > 0, stride > 0, 0..<trials ~= first else {
      throw ValidationError("--trials and --stride are positive, and --first is one of the trials")
    }
  }

  func run() throws {
    let site = try Site(corpus: Fixture.shared.corpus.directory)
    defer { site.remove() }
    let run = try RecordedRun(in: site)
    var tally = Tally()
    var misses = 0
    for number in Swift.stride(from: first, to: trials, by: stride) {
      var dice = Dice(seed: seed, trial: number)
      let harm = run.map.pick(&dice)
      say("trial \(number): \(harm)\n")
      do {
        tally.count(harm, try Trial(run, harm).judge())
      } catch {
        say("MISSED: trial \(number) of seed \(seed): \(harm): \(error)\n")
        misses += 1
      }
    }
    say(String(decoding: try JSONEncoder().encode(tally), as: UTF8.self) + "\n")
    if misses > 0 { throw ExitCode.failure }
  }

  /// At once: a trap must find it written.
  private func say(_ text: String) { FileHandle.standardOutput.write(Data(text.utf8)) }
}

/// A promise that was not kept.
struct Miss: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
