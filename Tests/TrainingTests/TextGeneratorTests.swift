import Base
import Corpus
import TestSupport
import Testing
import Training

@Suite struct TextGeneratorTests {
  private static let texts = ["Save the page", "The file does not exist", "Users"]

  private func translations(
    _ run: TinyRun, memory: Int, _ method: GenerationOptions.Method
  ) throws -> [String] {
    var settings = TextGenerator.Settings()
    settings.method = method
    var generator = try TextGenerator(run.run, run.config, memory: memory, settings)
    return try generator.translate(
      Self.texts.map { TextPair(source: $0, target: "", targetLanguage: "de") }
    ).map(\.text)
  }

  /// Two experts a token, each full at some time: what a sentence becomes is no matter of its neighbours.
  @Test func neighboursChangeNoTranslation() throws {
    var run = try TinyRun()
    run.config.storage.paths = [run.run.store]
    run.config.model.num_experts_per_tok = 2
    run.config.model.eval_capacity_factor = 0.2
    run.config.model.min_capacity = 1
    try run.trainInDirectory(to: 8)
    var settings = TextGenerator.Settings()
    settings.method = .beams(BeamOptions(count: 2, lengthPenalty: 3))
    var generator = try TextGenerator(run.run, run.config, memory: 1 << 30, settings)
    let pairs = Self.texts.map { TextPair(source: $0, target: "", targetLanguage: "de") }
    let together = try generator.translate(pairs)
    for (pair, wanted) in zip(pairs, together) {
      let alone = try generator.translate([pair])[0]
      #expect(alone.text == wanted.text && abs(alone.score - wanted.score) < 1e-4)
    }
  }

  /// Goal: a trained run translates with beams, one sentence at a time where memory allows no more,
  /// and says the same. The penalty makes these models of few steps say something at all.
  @Test func beamsSayTheSameInAnyMemory() throws {
    var run = try TinyRun()
    run.config.storage.paths = [run.run.store]
    try run.trainInDirectory(to: 8)
    let method = GenerationOptions.Method.beams(BeamOptions(count: 4, lengthPenalty: 3))
    let wanted = try translations(run, memory: 1 << 30, method)
    #expect(wanted.allSatisfy { !$0.isEmpty } && Set(wanted).count > 1)
    var memory = 1 << 20
    while true {
      do {
        #expect(try translations(run, memory: memory, method) == wanted)
        break
      } catch let refusal as MemoryRefusal {
        memory += refusal.missing
      }
    }
    // Beams take memory that greedy search does without.
    let greedy = try translations(run, memory: memory, .greedy)
    #expect(throws: MemoryRefusal.self) {
      try translations(run, memory: memory, .beams(BeamOptions(count: 40)))
    }
    #expect(greedy != wanted)
  }
}
