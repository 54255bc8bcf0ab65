import ConvergenceTrials
import Corpus
import TestSupport
import Testing
import Training

@Suite struct ConvergenceTrialsTests {
  /// A model that learns the tiny corpus in seconds.
  private static func config(_ variant: Variant, steps: Int) throws -> RunConfig {
    try RunConfig.parse(
      """
      model: {d_model: 32, encoder_layers: 1, decoder_layers: 1, num_attention_heads: 2,
        ffn_dim: 64, num_experts: 4, sparse_step: 1}
      data: {max_sequence_tokens: 60}
      training: {micro_batch_tokens: 128, gradient_accumulation_steps: 1, learning_rate: 1.0e-2,
        warmup_steps: 10}
      memory: {budget: 1GiB}
      evaluation: {max_tokens: 512}
      compute: {threads: 1}
      """, name: "test",
      overrides: [
        "data.corpus=\(Fixture.shared.corpus.directory)", "training.max_steps=\(steps)",
      ] + variant.overrides)
  }

  /// Goal: every variant learns what full precision learns, in less room.
  @Test func everyVariantLearns() throws {
    let scratch = try TemporaryDirectory()
    let trials = try Variant.all.map { variant in
      try Trial(
        variant, Self.config(variant, steps: 40), seed: 5, store: "\(scratch.path)/\(variant.name)")
    }
    let verdicts = Verdict.all(trials)
    #expect(verdicts.map(\.variant) == Variant.all.map(\.name))
    #expect(verdicts[0].worseBy == 0 && verdicts[0].bytesPerParameter == 12)
    for (trial, verdict) in zip(trials, verdicts).dropFirst() {
      #expect(trial.heldOutLoss != trials[0].heldOutLoss)
      #expect((trial.bytesPerParameter < 12) == (trial.variant != "boundaries-bf16"))
      #expect(abs(verdict.worseBy) < 0.02, "\(verdict)")
      #expect(trial.trainingLoss < 6.0, "an untrained model has log 600 = 6.4")
    }
  }

  /// Goal: the verdict is the mean over the same seeds, and a bad variant fails.
  @Test func aWorseVariantFails() throws {
    let scratch = try TemporaryDirectory()
    let broken = Variant("none", ["training.learning_rate=1.0e-9"])
    let trials = try [Variant.standard, broken].map {
      try Trial($0, Self.config($0, steps: 30), seed: 1, store: "\(scratch.path)/\($0.name)")
    }
    let verdict = Verdict.all(trials)[1]
    #expect(!verdict.isWithinBound)
    #expect(verdict.worseBy == trials[1].heldOutLoss / trials[0].heldOutLoss - 1)
  }
}
