import Base
package import DirectIO
import Simulation
import Storage
import Training

/// Runs whole trainings on simulated machines that crash, and compares them with undisturbed ones.
package struct RunSimulator {
  private let corpus: String
  private let scratch: Scratch
  private var references: [TinyModel: Reference] = [:]
  private var leastBudgets: [String: Int] = [:]

  /// - Parameter corpus: the directory of a prepared corpus.
  package init(corpus: String) throws {
    self.corpus = corpus
    scratch = try Scratch()
  }

  /// Simulates the run of `seed`.
  /// - Parameters:
  ///   - observe: told of every event of the machine and of what became of each process.
  ///   - spoil: given each disk before it is used; for showing that mistakes are noticed.
  /// - Returns: what happened, and the digest of all events: equal for equal seeds.
  /// - Throws: `SimulationFailure` when a promise was not kept.
  package mutating func simulate(
    seed: UInt64, observe: ((String) -> Void)? = nil, spoil: (any Disk) -> any Disk = { $0 }
  ) throws -> (tally: Tally, digest: UInt64) {
    let swarm = Swarm(seed: seed)
    observe?("\(swarm)")
    let place = try scratch.directory("run")
    defer { place.remove() }
    var config = configuration(swarm)
    if let beyond = swarm.budgetBeyondLeast {
      config.memory.budget = "\(try leastBudget(swarm) + beyond)"
    } else {
      config.memory.resident = true
    }
    var run = SimulatedRun(swarm, config, place, try reference(swarm.model), observe: observe)
    return try run.simulate(spoil: spoil)
  }

  private func configuration(_ swarm: Swarm) -> RunConfig {
    var config = swarm.model.configuration(corpus: corpus)
    config.compute.threads = swarm.threads
    config.checkpoint.keep = swarm.keep
    return config
  }

  private mutating func reference(_ model: TinyModel) throws -> Reference {
    if let known = references[model] { return known }
    let reference = try Reference(model, corpus: corpus, scratch: scratch)
    references[model] = reference
    return reference
  }

  /// The least budget that is accepted: what the refusals say is missing is added until none
  /// comes.
  private mutating func leastBudget(_ swarm: Swarm) throws -> Int {
    let key = "\(swarm.model) \(swarm.threads) \(swarm.keep)"
    if let known = leastBudgets[key] { return known }
    let place = try scratch.directory("budget")
    defer { place.remove() }
    var config = configuration(swarm)
    var budget = 1 << 20
    while true {
      config.memory.budget = "\(budget)"
      do {
        let machine = SimulatedMachine(seed: 0, root: place.path)
        _ = try TrainingSession(
          config, storePaths: [place.path + "/a"], profiles: place.profiles, disk: machine.start())
        leastBudgets[key] = budget
        return budget
      } catch let refusal as MemoryRefusal {
        budget += refusal.missing
      }
    }
  }
}
