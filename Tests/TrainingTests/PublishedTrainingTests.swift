import Corpus
import Foundation
import Goldens
import Layers
import Storage
import TestSupport
import Testing
import Training

/// Published families in whole runs: from a file of text, stopped and gone on with, under budgets
/// that page, exported and imported again, to the same bits.
@Suite struct PublishedTrainingTests {
  @Test(arguments: TinyPublished.families)
  func aRunLearnsAndResumesToTheSameBits(_ golden: String, _ family: PublishedFamily) throws {
    let tiny = try TinyPublished(golden, family)
    let whole = try tiny.train()
    #expect(whole.map(\.step) == [1, 2, 3, 4, 5, 6])
    let (first, last) = (try #require(whole.first), try #require(whole.last))
    #expect(last.loss < first.loss, "\(whole.map(\.loss))")

    let other = RunDirectory(tiny.directory.path + "/stopped")
    var steps = try tiny.train(to: 2, in: other)
    steps += try tiny.train(in: other)
    #expect(steps.map(\.computed) == whole.map(\.computed))
  }

  @Test(arguments: TinyPublished.families)
  func theBudgetChangesNoBit(_ golden: String, _ family: PublishedFamily) throws {
    var tiny = try TinyPublished(golden, family)
    tiny.config.memory.resident = true
    let resident = try tiny.train(to: 3)
    tiny.config.memory.resident = false
    tiny.config.memory.budget = "\(try tiny.config.leastBudget())"
    let paged = try tiny.train(to: 3, in: RunDirectory(tiny.directory.path + "/paged"))
    #expect(paged.map(\.computed) == resident.map(\.computed))
    // The first step makes everything from the seed.
    #expect(paged.dropFirst().allSatisfy { $0.read_bytes > 0 })
  }

  /// Goal: what `evaluate` says of a run is what the run said of itself, from a read-only store with
  /// less memory; and any family is spoken to in text.
  @Test(arguments: TinyPublished.families)
  func aRunIsScoredAndSpeaks(_ golden: String, _ family: PublishedFamily) throws {
    let tiny = try TinyPublished(golden, family)
    var trainer = Trainer(tiny.config, run: tiny.run, lastStep: 4, profiles: tiny.profiles)
    let outcome = try trainer.train(isStopping: { false }, observe: { _ in })
    let last = try #require(outcome.evaluations.last)
    let config = try tiny.run.config(storePaths: [])
    let evaluation = try RunEvaluation(
      tiny.run, config, memory: 1 << 30, sentences: 6, .init(), isStopping: { false })
    #expect(evaluation.step == 4)
    #expect(evaluation.heldout?.loss == last.loss)
    #expect(evaluation.heldout?.loss_by_task == last.loss_by_task)
    let translations = try #require(evaluation.translations)
    #expect(translations.directions.map(\.sentences) == [6])

    let pairs = ["one and two", "nine and nine"].map { TextPair(source: $0, target: "") }
      .map { pair in
        var pair = pair
        if family == .nllbMoE {
          (pair.sourceLanguage, pair.targetLanguage) = ("eng_Latn", "fra_Latn")
        }
        return pair
      }
    var settings = TextGenerator.Settings()
    settings.method = .beams(BeamOptions(count: 3))
    settings.newTokens = 12
    var beams = try TextGenerator(tiny.run, config, memory: 1 << 30, settings)
    #expect(try beams.translate(pairs).allSatisfy { $0.tokens <= 12 && $0.score <= 0 })
    settings.method = .sampling(TokenSampler(temperature: 1, topP: 0.9, seed: 3))
    var drawn = try TextGenerator(tiny.run, config, memory: 1 << 30, settings)
    let first = try drawn.translate(pairs).map(\.text)
    #expect(try drawn.translate(pairs).map(\.text) == first)
    guard family != .nllbMoE else { return }
    #expect(try drawn.answer(["three and"], isChat: false).count == 1)
  }

  @Test func anExportWithMomentsGoesOnToTheSameBits() throws {
    let tiny = try TinyPublished("qwen3-moe-tiny", .qwen3MoE)
    let whole = try tiny.train(in: RunDirectory(tiny.directory.path + "/whole"))
    try tiny.train(to: 3)
    var options = ModelExport.Options()
    options.hasOptimizer = true
    var export = try ModelExport(tiny.run, try #require(try tiny.run.savedConfig()), options)
    let target = tiny.directory.path + "/exported"
    _ = try export.write(to: target)

    let copy = RunDirectory(tiny.directory.path + "/copy")
    let model = try ModelImport(target, into: copy, .with(profiles: tiny.profiles))
    #expect(try model.make().step == 3)
    var moved = tiny
    moved.config.model.path = ""
    let steps = try moved.train(in: copy)
    #expect(steps.map(\.computed) == whole.suffix(3).map(\.computed))
  }

  @Test func anImportedModelIsToldItsSettingsAtItsFirstStep() throws {
    var tiny = try TinyPublished("switch-tiny", .switchTransformers)
    try tiny.train(to: 1, in: RunDirectory(tiny.directory.path + "/first"))
    let target = tiny.directory.path + "/exported"
    let first = RunDirectory(tiny.directory.path + "/first")
    var export = try ModelExport(
      first, try #require(try first.savedConfig()), ModelExport.Options())
    _ = try export.write(to: target)
    _ = try ModelImport(target, into: tiny.run, .with(profiles: tiny.profiles)).make()

    tiny.config.model.path = ""
    #expect(throws: TrainingError.self) { try tiny.train(to: 1) }
    tiny.config.storage.block_bytes = RunConfig().storage.block_bytes
    // Claimed, and stopped before the first step.
    try tiny.run.claim(for: tiny.config)
    tiny.config.training.warmup_steps = 1
    #expect(try tiny.train(to: 1).count == 1)
    tiny.config.training.learning_rate = 1e-3
    #expect(throws: TrainingError.self) { try tiny.train(to: 2) }
    tiny.config.training.learning_rate = 3e-3
    let file = tiny.config.data.corpus
    let text = try String(contentsOfFile: file, encoding: .utf8)
    try text.replacing("one and two", with: "two and two")
      .write(toFile: file, atomically: true, encoding: .utf8)
    #expect(throws: StorageError.self) { try tiny.train(to: 2) }
    try text.write(toFile: file, atomically: true, encoding: .utf8)
    #expect(try tiny.train(to: 2).map(\.step) == [2])
  }

  @Test func weightsThatNobodyReadsAreRefused() throws {
    let tiny = try TinyPublished("switch-tiny", .switchTransformers)
    try FileManager.default.copyItem(
      atPath: Golden.folder("switch-tiny") + "/model.safetensors",
      toPath: tiny.config.model.path + "/model.safetensors")
    let error = #expect(throws: TrainingError.self) { try tiny.train(to: 1) }
    #expect(error?.description.contains("pagoda import") == true)
  }

  @Test func aTokenizerOfAnotherModelIsRefused() throws {
    let tiny = try TinyPublished("mixtral-tiny", .mixtral)
    let path = tiny.config.model.path + "/config.json"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    try text.replacing("\"vocab_size\": 500", with: "\"vocab_size\": 200")
      .write(toFile: path, atomically: true, encoding: .utf8)
    #expect(throws: CorpusError.self) { try tiny.train(to: 1) }
  }

  /// Goal: moments of a model that was published in bfloat16 come back, though an export with moments
  /// is float32.
  @Test func theTypeOfTheWeightsIsNoOtherModel() throws {
    var tiny = try TinyPublished("olmoe-tiny", .olmoe)
    let path = tiny.config.model.path + "/config.json"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    try text.replacing("\"dtype\": \"float32\"", with: "\"dtype\": \"bfloat16\"")
      .write(toFile: path, atomically: true, encoding: .utf8)
    try tiny.train(to: 2)
    var options = ModelExport.Options()
    options.hasOptimizer = true
    var export = try ModelExport(tiny.run, try tiny.run.config(storePaths: []), options)
    let target = tiny.directory.path + "/exported"
    _ = try export.write(to: target)
    let copy = RunDirectory(tiny.directory.path + "/copy")
    #expect(try ModelImport(target, into: copy, .with(profiles: tiny.profiles)).make().step == 2)
    tiny.config.model.path = ""
    #expect(try tiny.train(to: 3, in: copy).map(\.step) == [3])
  }

  @Test func anImportIsNotLostToFresh() throws {
    let tiny = try TinyPublished("switch-tiny", .switchTransformers)
    _ = try ModelImport(
      Golden.folder("switch-tiny"), into: tiny.run, .with(profiles: tiny.profiles)
    ).make()
    try "nonsense: 1".write(toFile: tiny.run.config, atomically: true, encoding: .utf8)
    var trainer = Trainer(tiny.config, run: tiny.run, lastStep: 1, start: .fresh)
    #expect(throws: TrainingError.self) {
      _ = try trainer.train(isStopping: { false }, observe: { _ in })
    }
    #expect(Store.isThere([tiny.run.store]))
  }

  @Test func auxAndZLossAreOptions() throws {
    var tiny = try TinyPublished("mixtral-tiny", .mixtral)
    // Mixtral's configuration does not ask for the routers' logits.
    let without = try tiny.train(to: 1)
    tiny.config.model.aux = "hf"
    let pooled = try tiny.train(to: 1, in: RunDirectory(tiny.directory.path + "/hf"))
    #expect(pooled[0].loss == without[0].loss)
    #expect(pooled[0].grad_norm != without[0].grad_norm)
    tiny.config.model.aux = "none"
    let none = try tiny.train(to: 1, in: RunDirectory(tiny.directory.path + "/none"))
    #expect(none.map(\.computed) == without.map(\.computed))
    tiny.config.model.aux = "per_layer"
    let each = try tiny.train(to: 1, in: RunDirectory(tiny.directory.path + "/each"))
    #expect(pooled[0].aux_loss != each[0].aux_loss)
    tiny.config.model.aux = "hf"
    tiny.config.model.router_z_loss_coef = "0.1"
    let squared = try tiny.train(to: 1, in: RunDirectory(tiny.directory.path + "/z"))
    #expect(squared[0].loss == pooled[0].loss)
    #expect(squared[0].grad_norm != pooled[0].grad_norm)
  }
}
