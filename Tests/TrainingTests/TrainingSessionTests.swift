import Base
import Corpus
import Foundation
import Storage
import TestSupport
import Testing
import Training

/// A run this small learns its corpus by heart within a few dozen steps.
@Test(arguments: [("adamw", 1e-2), ("adafactor", 5e-2)])
func aTinyModelLearns(_ optim: String, _ rate: Double) throws {
  var run = try TinyRun()
  run.config.training.optim = optim
  run.config.training.learning_rate = rate
  var session = try run.session()
  let before = try session.evaluate()
  var losses: [Double] = []
  while session.nextStep <= 40 { losses.append(try session.runStep().loss) }
  let (first, last) = (losses.prefix(5).reduce(0, +) / 5, losses.suffix(5).reduce(0, +) / 5)
  #expect(last < first - 1)
  #expect(try session.evaluate().loss < before.loss)
}

@Test func theFirstLossIsThatOfAGuess() throws {
  let run = try TinyRun()
  var session = try run.session()
  let guess = log(Double(try Fixture.shared.corpus.vocabularySize))
  #expect(abs(try session.runStep().loss - guess) < 1.5)
}

@Test func aBudgetTooSmallIsRefusedBeforeAnythingExists() throws {
  var run = try TinyRun()
  let least = try run.leastBudget()
  run.config.memory.budget = "\(least - 1)"
  let refusal = #expect(throws: MemoryRefusal.self) { _ = try run.session() }
  #expect(refusal?.missing == 1)
  #expect(!FileManager.default.fileExists(atPath: run.directory.path + "/store"))
}

@Test func aStoreOfAnotherModelIsRefusedUntouched() throws {
  var run = try TinyRun()
  _ = try run.train(to: 1)
  let before = try run.checksums()
  run.config.training.learning_rate = 1
  let error = #expect(throws: StorageError.self) { _ = try run.session() }
  #expect(error?.exitCode == 65)
  run.config.training.learning_rate = 3e-3
  #expect(try run.checksums() == before)
}

/// A weight that became infinite ends the run before anything of the step is committed.
@Test func aLossThatIsNotFiniteEndsTheRun() throws {
  var run = try TinyRun()
  run.config.training.learning_rate = 1e30
  run.config.training.warmup_steps = 0
  run.config.training.clip = "none"
  #expect(throws: TrainingError.self) {
    var session = try run.session()
    for _ in 0..<4 { _ = try session.runStep() }
  }
}

/// The seconds of a step's parts add up to the step; where everything is resident nothing waits.
@Test func theTimesOfAStepAddUp() throws {
  let run = try TinyRun()
  var session = try run.session()
  let metrics = try session.runStep()
  let parts = metrics.forward_s + metrics.backward_s + metrics.update_s
  #expect(abs(parts - metrics.step_s) < 1e-8)
  #expect(metrics.stall_s == 0 && metrics.router_stall_s == 0)
}

/// Somebody who reads an old generation for long keeps its slots: the run waits, and can be stopped.
@Test func aReaderInTheWayIsWaitedForUntilAStop() throws {
  var run = try TinyRun()
  run.config.memory.budget = "\(try run.leastBudget())"
  let reference = try run.train(to: 1)
  do {
    let reader = try run.reader()
    var session = try run.session()
    var waits = 0
    session.whileReaderWaits = { () throws(StorageError) in
      waits += 1
      if waits == 3 { throw .stoppedWaiting(path: run.storePaths[0]) }
    }
    let error = #expect(throws: StorageError.self) {
      for _ in 0..<4 {
        _ = try session.runStep()
        try session.freeze()
      }
    }
    #expect(error?.exitCode == 75 && waits == 3)
    #expect(reader.generation?.step == reference.last?.step)
  }
  let last = try #require(run.reader().generation?.step)
  #expect(try run.train(to: last + 1).map(\.step) == [last + 1])
}
