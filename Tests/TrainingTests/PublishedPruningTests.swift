import Base
import Models
import Storage
import Surgery
import Testing
import Training

/// Experts of a published model's run dropped: tokens go to those that are left, and it trains on.
@Test(arguments: [("switch-tiny", PublishedFamily.switchTransformers), ("olmoe-tiny", .olmoe)])
func aPublishedModelIsPruned(_ golden: String, _ family: PublishedFamily) throws {
  let tiny = try TinyPublished(golden, family)
  _ = try tiny.train(to: 2)
  let config = try tiny.run.config(storePaths: [])
  let description = try config.description()
  let (experts, mixtures) = (description.experts.count, description.mixtures)
  // Every second one, and no fewer than a token chooses.
  let few = Array(stride(from: 0, to: experts, by: 2))
  try #require(few.count >= description.routing.expertsPerToken)
  let kept = (0..<mixtures).map { $0 == 0 ? few : Array(1..<experts) }
  _ = try Pruning(tiny.run, config, keeping: kept).inPlace()

  let pruned = try tiny.run.config(storePaths: [])
  var steps: [StepMetrics] = []
  var trainer = Trainer(pruned, run: tiny.run, lastStep: 5, profiles: tiny.profiles)
  _ = try trainer.train(
    isStopping: { false },
    observe: { event in
      if case .step(let line, _) = event { steps.append(line) }
    })
  #expect(steps.map(\.step) == [3, 4, 5] && steps.allSatisfy { $0.loss.isFinite })
  let store = try openStore(tiny.run, paths: []).store
  let written = store.writtenBlocks.filter { $0.kind == .expert }
  #expect(!written.isEmpty && written.allSatisfy { kept[$0.layer].contains($0.index) })
  #expect(written.contains { store.record(of: $0)?.history.lastStep == 5 })
}
