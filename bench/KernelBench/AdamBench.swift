import ArgumentParser
import BenchHarness
import Kernels

/// AdamW in every form that the master and the moments can have, against the memory.
struct AdamBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "adam", abstract: "AdamW against the machine's triad bandwidth.",
    discussion: """
      Bytes are counted as STREAM does: what the loop reads and writes, not what caches fetch \
      beside. The ceiling is the best of three loops over as many bytes by the same threads: triad \
      with plain stores, which fetch the target before they write it; triad with streaming stores, \
      which do not; and an update in place, which reads what it writes, as AdamW does.
      """)

  @Option(help: "Elements of the tensor.") var elements = Counts([100_000_000])
  @Option(help: "Threads: a contest for each number.") var threads = Counts([1, 2])
  @Option(help: "Rounds that count.") var rounds = 9

  func validate() throws {
    guard elements.values.count == 1, rounds > 0 else {
      throw ValidationError("--elements and --rounds are one positive number")
    }
  }

  func run() throws {
    let count = elements.values[0]
    for threads in threads.values {
      let workers = Workers(count: threads)
      let gradient = Vector<Float>(count: count)
      fill(gradient, seed: 1, scale: 1, on: workers)
      var contest = Contest(
        bench: "adam", subject: "\(count) elements, \(threads) threads", unit: "GB/s",
        rounds: rounds)
      let ceilings = StreamCeiling.all(
        bytes: 4 * count * MemoryLayout<Float>.stride, on: workers)
      contest.ceilings = Set(ceilings.map(\.name))
      contest.agreeing = Set(AdamVariant.all.filter(\.isExact).map(\.name))
      let entrants = AdamVariant.all.map { entrant($0, gradient, workers) }
      let report = try contest.run(ceilings + entrants)
      try report.print()
      if report.agrees == false { throw ExitCode(70) }
    }
  }

  private func entrant(
    _ variant: AdamVariant, _ gradient: Vector<Float>, _ workers: Workers
  ) -> Entrant {
    let state = variant.make(gradient.count, workers)
    var step = 0
    return Entrant(variant.name) {
      step += 1
      let time = seconds { state.update(step: step, gradient, on: workers) }
      let elements = Double(gradient.count)
      return Outcome(
        rate: elements * variant.bytesPerElement / time / 1e9, checksum: state.checksum,
        figures: ["elements_per_s": elements / time])
    }
  }
}
