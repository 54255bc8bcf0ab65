package import Training

/// The models of simulated runs: as small as is possible with several experts, slices and layers.
package enum TinyModel: String, CaseIterable, Sendable {
  /// Each expert in two slices, computed with the upper halves of its weights.
  case sliced
  /// Experts in one piece, computed with whole weights, in every layer.
  case whole

  /// The longest run.
  package static let stepsMax = 12

  package func configuration(corpus: String) -> RunConfig {
    var config = RunConfig()
    config.data.corpus = corpus
    config.data.max_sequence_tokens = 40
    config.model.d_model = 16
    config.model.encoder_layers = 2
    config.model.decoder_layers = 2
    config.model.num_attention_heads = 2
    config.model.ffn_dim = 32
    config.model.num_experts = 5
    config.model.router_jitter_noise = 0.05
    config.training.micro_batch_tokens = 64
    config.training.gradient_accumulation_steps = 2
    config.training.learning_rate = 3e-3
    config.training.warmup_steps = 4
    config.training.max_steps = Self.stepsMax
    config.evaluation.max_tokens = 64
    config.compute.threads = 1
    switch self {
    case .sliced:
      config.seed = 11
      // 16 * 32 * 2 parameters of 12 bytes are 12 KiB.
      config.storage.block_bytes = "6KiB"
    case .whole:
      config.seed = 12
      config.model.weights = "fp32"
      config.model.sparse_step = 1
      config.storage.block_bytes = "64KiB"
    }
    return config
  }
}
