import ArgumentParser
import Base
import BenchHarness
import Foundation
import Models
import Training

/// Tokens per second by memory budget, against everything resident.
struct BudgetBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "budgets", abstract: "Paged under some budgets, against resident.",
    discussion: """
      BUDGETS are ceilings on the whole process, `512MiB,1GiB`; or, in per cent of the experts' \
      state on disk, what of it the page pool holds: `10%` is a tenth of the state beside what \
      training needs anyway (with --ceiling, a tenth of the state in all).

        .build/release/PagedBench tools/examples/quickstart.yaml 512MiB 8 3
        .build/release/PagedBench tools/examples/quickstart.yaml 2%,10%,50% --bounds
        bench/curve

      Everything must have the losses of the resident run, bit for bit; exits with 70 if not. With \
      --bounds, the drive and the experts' products are measured, and each budget is compared with \
      the cost model: m, tokens per touched expert; m*, from which on the drive hides behind the \
      arithmetic; and the bound, the slower of the resident step and the step's bytes at the \
      drive's rates.

      Each run of each round begins at the seed. With --abreast there is one run of each, all open \
      at once, and steps take turns: the same batch in the same minute, and no long beginnings. A \
      step's time has that of its last writes, which else end beside the next step. The memory must \
      have room for all runs; how much one takes is not told.
      """)

  @OptionGroup var arguments: RunArguments
  @Argument(help: "Budgets, comma-separated.") var budgets: String
  @Argument(
    help: ArgumentHelp(
      "Steps of a run (8), rounds (3), and overrides, key.path=value.", valueName: "more"))
  var more: [String] = []
  @Option(help: "Overrides, comma-separated, of further paged runs under each budget.")
  var variant: [String] = []
  @Flag(help: "Per cents are of the whole ceiling.") var ceiling = false
  @Flag(help: "One run of each, their steps in turns.") var abreast = false
  @Flag(help: "Measure what the cost model needs, and compare with it.") var bounds = false
  @Option(help: "Seconds of measuring the drive, for each budget.") var driveSeconds = 3.0

  private var steps: Int { get throws { try RunArguments.numbers(more).first ?? 8 } }
  private var rounds: Int { get throws { try RunArguments.numbers(more).dropFirst().first ?? 3 } }

  func validate() throws {
    let numbers = try RunArguments.numbers(more)
    guard numbers.count <= 2, try steps > RunArguments.uncounted else {
      throw ValidationError("more than two steps, then rounds")
    }
    guard !abreast || numbers.count < 2 else {
      throw ValidationError("abreast every step is a round: give steps alone")
    }
    guard driveSeconds > 0, driveSeconds <= 1e6 else {
      throw ValidationError("--drive-seconds must be positive and at most 1000000")
    }
  }

  func run() throws {
    let residentConfig = try config(
      memory: Machine.this.memoryBytes, ["memory.resident=true"])
    let needs = try RunNeeds(residentConfig)
    let budgets = try Budget.parse(self.budgets, needs, ofCeiling: ceiling)
    var contest = Contest(
      bench: "paged", subject: "\(arguments.config) \(try overrides.joined(separator: " "))",
      unit: "tokens/s", rounds: abreast ? try steps - RunArguments.uncounted : try rounds)
    contest.warmups = abreast ? RunArguments.uncounted : 0
    contest.ceilings = ["resident"]

    let newest = Newest()
    let entrants =
      [try resident(residentConfig, newest)]
      + (try budgets.flatMap { try paged($0, needs, newest) })
    contest.agreeing = Set(entrants.map(\.name))
    var report = try contest.run(entrants)
    report.figures["state_bytes"] = Double(needs.stateBytes)
    try report.print()
    if report.agrees == false { throw ExitCode(70) }
  }

  /// What the newest resident run was like, for the others to compare with.
  private final class Newest {
    var tokensPerSecond = 0.0
  }

  private func resident(_ config: RunConfig, _ newest: Newest) throws -> Entrant {
    let turn = try turns(config)
    return Entrant("resident") {
      let run = try turn()
      newest.tokensPerSecond = run.tokensPerSecond
      return Outcome(rate: run.tokensPerSecond, checksum: run.losses, figures: run.figures)
    }
  }

  /// An entrant without and one with each variant.
  private func paged(
    _ budget: Budget, _ needs: RunNeeds, _ newest: Newest
  ) throws -> [Entrant] {
    let bounds = CostBounds(needs, scratch: arguments.scratch, seconds: driveSeconds)
    let rates =
      self.bounds ? try bounds.rates(poolBytes: budget.bytes - needs.fixedBytes) : nil
    return try ([[]] + variant.map { $0.split(separator: ",").map(String.init) }).map { variant in
      let config = try config(memory: budget.bytes, variant)
      let turn = try turns(config)
      return Entrant(([budget.name] + variant).joined(separator: " ")) {
        let run = try turn()
        var figures = run.figures.merging(budget.figures(needs)) { $1 }
        if let bytes = run.bytesAgainstModel(needs) {
          (figures["read_to_model"], figures["write_to_model"]) = bytes
        }
        if let rates {
          figures.merge(bounds.compare(run, rates, residentRate: newest.tokensPerSecond)) { $1 }
        }
        return Outcome(rate: run.tokensPerSecond, checksum: run.losses, figures: figures)
      }
    }
  }

  /// What a run does when its turn comes: all of itself, or its next step.
  private func turns(_ config: RunConfig) throws -> () throws -> MeasuredRun {
    let (steps, scratch) = (try steps, arguments.scratch)
    guard abreast else { return { try MeasuredRun(config, steps: steps, scratch: scratch) } }
    var open: SteppedRun?
    return {
      let run = try open ?? SteppedRun(config, scratch: scratch)
      open = run
      return try run.nextStep()
    }
  }

  private var overrides: [String] { get throws { RunArguments.overrides(more) } }

  private func config(memory: Int, _ more: [String]) throws -> RunConfig {
    try RunConfig.load(
      path: arguments.config, overrides: try overrides + ["memory.budget=\(memory)"] + more)
  }
}

/// A ceiling on the whole process.
struct Budget {
  /// As it was given.
  let name: String
  let bytes: Int

  /// - Parameter ofCeiling: per cents are of the ceiling, not of the pool.
  static func parse(_ list: String, _ needs: RunNeeds, ofCeiling: Bool) throws -> [Budget] {
    let words = list.split(separator: ",")
    guard !words.isEmpty else { throw ValidationError("no budget is given, such as 10%") }
    return try words.map { word in
      let name = String(word)
      if let size = ByteCount(parsing: name) { return Budget(name: name, bytes: size.bytes) }
      guard name.last == "%", let percent = Double(name.dropLast()), percent > 0, percent <= 1e6
      else {
        throw ValidationError("\(name) is neither a size nor a share such as 10%")
      }
      let part = Int(Double(needs.stateBytes) * percent / 100)
      return Budget(
        name: name,
        bytes: ofCeiling ? part : needs.fixedBytes + max(part, needs.leastPoolBytes))
    }
  }

  func figures(_ needs: RunNeeds) -> [String: Double] {
    [
      "memory_bytes": Double(bytes), "ceiling_share": Double(bytes) / Double(needs.stateBytes),
      "pool_share": Double(bytes - needs.fixedBytes) / Double(needs.stateBytes),
    ]
  }
}
