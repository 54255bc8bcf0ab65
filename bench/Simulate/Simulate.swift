import ArgumentParser
import Corpus
import Foundation
import SimulatedRuns
import TestSupport

/// Simulates training runs that crash; `tools/simulate` builds and runs it.
@main
struct Simulate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Trains on simulated machines that crash, and compares with undisturbed runs.",
    discussion: """
      With SEED: that run alone, with all of its events. Without: many, one line each, and what \
      happened in all of them as a line of JSON. Ends with 1 at the first promise that was not \
      kept.
      """)

  @Argument(help: "A seed to replay.") var seed: UInt64?
  @Option(help: "How many runs, with seeds one after the other.") var runs = 50
  @Option(help: "The first seed.") var first: UInt64 = 1
  @Option(help: "Only every so many-th seed.") var stride: UInt64 = 1

  func validate() throws {
    guard runs > 0, stride > 0 else { throw ValidationError("--runs and --stride are positive") }
  }

  func run() throws {
    var simulator: RunSimulator?
    var sum = Tally()
    let start = ContinuousClock.now
    let end = first + UInt64(runs)
    for seed in seed.map({ [$0] }) ?? Array(Swift.stride(from: first, to: end, by: Int(stride))) {
      say("seed \(seed)" + (self.seed == nil ? "" : "\n"))
      // After the seed: making the corpus is not the seed's fault, but takes a moment.
      if simulator == nil {
        simulator = try RunSimulator(corpus: Fixture.shared.corpus.directory)
      }
      let observe: ((String) -> Void)? = self.seed == nil ? nil : { say($0 + "\n") }
      do {
        guard let result = try simulator?.simulate(seed: seed, observe: observe) else { continue }
        sum += result.tally
        let digest = String(result.digest, radix: 16)
        say(": \(result.tally.processes) processes, the same bits, events \(digest)\n")
      } catch {
        say(": FAILED: \(error)\nreplay with: tools/simulate \(seed)\n")
        throw ExitCode.failure
      }
    }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let json = String(decoding: try JSONEncoder().encode(sum), as: UTF8.self)
    say("\(json)\n\(sum.runs) runs, \(Double(sum.runs) / seconds) a second\n")
  }

  /// At once: a trap must find it written.
  private func say(_ text: String) { FileHandle.standardOutput.write(Data(text.utf8)) }
}
