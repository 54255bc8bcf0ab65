import Base
import Storage
import Surgery
import Testing
import Training

/// The first promise for runs that were made of others: trained on, they compute the same bits with
/// everything in memory, paged, on more threads, and stopped in between.
@Suite struct TrainingOnTests {
  enum Method: String, CaseIterable, Sendable {
    case pruned, extracted, united, unitedAnew
  }

  private static let (steps, further) = (4, 4)

  /// Made once: by token, another by token, by task.
  private static let sources = ["adamw", "adafactor"].reduce(into: [:]) { all, optim in
    all[optim] = Result {
      try [("token", 11), ("token", 12), ("target_language", 11)].map { gate, seed in
        var run = try SmallRun(decoderGate: gate, perToken: 1, seed: seed)
        run.config.training.optim = optim
        try run.train(to: steps)
        return run
      }
    }
  }

  private func sources(_ optim: String) throws -> [SmallRun] {
    try #require(Self.sources[optim]).get()
  }

  private func make(_ method: Method, _ optim: String, _ name: String) throws -> RunDirectory {
    let sources = try sources(optim)
    let (a, b, task) = (sources[0], sources[1], sources[2])
    let output = a.other("\(method)-\(name)")
    switch method {
    case .pruned:
      let pruning = try Pruning(a.run, a.run.saved, keeping: [[0, 3, 4], [1, 5]])
      _ = try pruning.make(output, profiles: a.profiles)
    case .extracted:
      let extraction = try Extraction(task.run, task.run.saved, task: "de-en")
      _ = try extraction.make(output, profiles: a.profiles)
    case .united, .unitedAnew:
      let union = try Aggregation(
        (a.run, a.run.saved), (b.run, b.run.saved), moments: method == .united ? .keep : .zero)
      _ = try union.make(output, profiles: a.profiles)
    }
    return output
  }

  private struct Computed: Equatable {
    var losses: [UInt64] = []
    var checksums: [BlockID: [UInt64]] = [:]
  }

  /// - Returns: what was computed, and the bytes that were read.
  private func trainOn(
    _ run: RunDirectory, stops: [Int] = [], _ change: (inout RunConfig) throws -> Void
  ) throws -> (computed: Computed, readBytes: Int) {
    var (computed, readBytes) = (Computed(), 0)
    var config = try run.saved
    try change(&config)
    let profiles = DriveProfiles(path: run.path + "-drives.json")
    let first = try RunProgress(payload: run.store().generation?.payload ?? []).step
    for last in stops.map({ first + $0 }) + [first + Self.further] {
      var trainer = Trainer(config, run: run, lastStep: last, profiles: profiles)
      _ = try trainer.train(
        isStopping: { false },
        observe: { event in
          guard case .step(let line, _) = event else { return }
          computed.losses.append(line.loss.bitPattern)
          readBytes += line.read_bytes
        })
    }
    computed.checksums = try run.checksums()
    return (computed, readBytes)
  }

  @Test(arguments: Method.allCases, ["adamw", "adafactor"])
  func theBitsAreTheSame(_ method: Method, _ optim: String) throws {
    let resident = try trainOn(make(method, optim, "resident")) { $0.memory.resident = true }
    #expect(resident.computed.losses.count == Self.further)
    let paged = try trainOn(make(method, optim, "paged")) { config in
      (config.memory.dense, config.memory.recompute) = ("resident", "always")
      (config.memory.spill, config.memory.held_gradients) = ("never", "0")
      let needs = try RunNeeds(config)
      config.memory.budget = "\(needs.fixedBytes + needs.leastPoolBytes)"
    }
    #expect(paged.readBytes > resident.readBytes)
    #expect(paged.computed == resident.computed)
    let stopped = try trainOn(make(method, optim, "stopped"), stops: [1, 3]) {
      $0.compute.threads = 3
      $0.memory.dense = "paged"
    }
    #expect(stopped.computed == resident.computed)
  }
}
