import Base

/// Everything a run is told, with the defaults. The YAML file, the overrides and the resolved
/// `config.yaml` of a run all have exactly these keys.
///
/// `model`, `data`, `training` and `seed` decide what is computed and are part of a run's identity;
/// `memory`, `storage`, `checkpoint`, `evaluation` and `compute` decide only where and when, and may
/// change between a stop and a resume (`storage.block_bytes` excepted: it fixes the order of sums).
// Names are the keys of the file, Hugging Face's where it has one.
// swift-format-ignore: AlwaysUseLowerCamelCase
package struct RunConfig: Codable, Equatable, Sendable {
  package var seed = 1
  package var model = ModelSection()
  package var data = DataSection()
  package var training = TrainingSection()
  package var memory = MemorySection()
  package var storage = StorageSection()
  package var checkpoint = CheckpointSection()
  package var evaluation = EvaluationSection()
  package var compute = ComputeSection()

  package init() {}

  package struct ModelSection: Codable, Equatable, Sendable {
    package var family = "zcode"
    package var d_model = 256
    package var encoder_layers = 4
    package var decoder_layers = 4
    package var num_attention_heads = 4
    package var ffn_dim = 1024
    package var num_experts = 8
    /// Every so many-th layer has experts instead of one FFN: 2 is every other.
    package var sparse_step = 2
    package var capacity_factor = 1.0
    package var eval_capacity_factor = 2.0
    package var min_capacity = 4
    package var token_selection = "random"
    package var router_jitter_noise = 0.0
    package var router_aux_loss_coef = 0.01
    /// What the experts compute with: `bf16` reads the upper half of the fp32 master, `fp32` all of it.
    package var weights = "bf16"
  }

  package struct DataSection: Codable, Equatable, Sendable {
    package var corpus = ""
    /// `english`: to and from English; `all`: any pair of languages.
    package var pairs = "english"
    package var temperature = 5.0
    /// Share of the sequences that are denoised instead of translated.
    package var denoise = 0.2
    package var mask_rate = 0.3
    package var deletion_rate = 0.05
    package var max_sequence_tokens = 96
  }

  package struct TrainingSection: Codable, Equatable, Sendable {
    /// The horizon of the schedule and the default number of steps.
    package var max_steps = 100
    /// At most so many source tokens, and so many target tokens, in a micro-batch.
    package var micro_batch_tokens = 1024
    /// Micro-batches in a step; all of them cross a layer while its experts are resident.
    package var gradient_accumulation_steps = 4
    package var learning_rate = 1e-3
    package var lr_scheduler_type = "inverse_sqrt"
    package var warmup_steps = 20
    package var min_lr_ratio = 0.0
    package var adam_beta1 = 0.9
    package var adam_beta2 = 0.98
    package var adam_epsilon = 1e-8
    package var weight_decay = 0.01
    package var label_smoothing_factor = 0.0
    package var max_grad_norm = 1.0
    /// `block`: each block's gradient is clipped to `max_grad_norm` by itself; `none`: not at all.
    package var clip = "block"
  }

  package struct MemorySection: Codable, Equatable, Sendable {
    /// The ceiling on the whole process.
    package var budget = "2GiB"
    /// Keeps every block in memory; the disk is written at commits only.
    package var resident = false
  }

  package struct StorageSection: Codable, Equatable, Sendable {
    /// Directories, one per drive; empty: `store` in the run directory.
    package var paths: [String] = []
    /// An expert whose weights and moments are larger is cut along its hidden dimension.
    package var block_bytes = "64MiB"
    package var engine = "automatic"
    package var queue_depth = 32
    package var request_bytes = "1MiB"
  }

  package struct CheckpointSection: Codable, Equatable, Sendable {
    /// Steps between commits. The last step and a signal commit too.
    package var every = 50
  }

  package struct EvaluationSection: Codable, Equatable, Sendable {
    /// Steps between evaluations of the held-out loss; 0: only at the end.
    package var every = 50
    /// Held-out target tokens for each kind of task.
    package var max_tokens = 4096
    /// Held-out sentences to translate at the end, spread over the languages; 0: none.
    package var translations = 0
  }

  package struct ComputeSection: Codable, Equatable, Sendable {
    /// Worker threads; 0: one for each core this process may use.
    package var threads = 0
  }
}

extension RunConfig {
  package func bytes(_ text: String, key: String) throws(ConfigError) -> Int {
    guard let size = ByteCount(parsing: text) else {
      throw ConfigError(
        key: key, problem: "`\(text)` is not a size", remedy: "write 512MiB, 4GiB or 1.5e9")
    }
    return size.bytes
  }

  /// Refuses what cannot be: each line names the key and what would do.
  package func validate() throws(ConfigError) {
    func require(_ holds: Bool, _ key: String, _ problem: String, _ remedy: String)
      throws(ConfigError)
    {
      if !holds { throw ConfigError(key: key, problem: problem, remedy: remedy) }
    }
    func choose(_ value: String, _ key: String, _ choices: [String]) throws(ConfigError) {
      let near = nearest(value, among: choices).map { "did you mean `\($0)`? " } ?? ""
      try require(
        choices.contains(value), key, "`\(value)` is not known",
        near + "choose one of: " + choices.joined(separator: ", "))
    }
    func positive(_ value: Int, _ key: String) throws(ConfigError) {
      try require(value > 0, key, "\(value) is not positive", "give a number above 0")
    }
    try choose(model.family, "model.family", ["zcode"])
    try choose(model.token_selection, "model.token_selection", ["random", "first"])
    try choose(model.weights, "model.weights", ["bf16", "fp32"])
    try choose(data.pairs, "data.pairs", ["english", "all"])
    try choose(
      training.lr_scheduler_type, "training.lr_scheduler_type",
      ["constant", "linear", "cosine", "inverse_sqrt"])
    try choose(training.clip, "training.clip", ["block", "none"])
    try choose(storage.engine, "storage.engine", ["automatic", "io_uring", "threads"])
    try positive(model.d_model, "model.d_model")
    try positive(model.encoder_layers, "model.encoder_layers")
    try positive(model.decoder_layers, "model.decoder_layers")
    try positive(model.num_attention_heads, "model.num_attention_heads")
    try positive(model.ffn_dim, "model.ffn_dim")
    try positive(model.num_experts, "model.num_experts")
    try positive(model.sparse_step, "model.sparse_step")
    try positive(training.max_steps, "training.max_steps")
    try positive(training.micro_batch_tokens, "training.micro_batch_tokens")
    try positive(training.gradient_accumulation_steps, "training.gradient_accumulation_steps")
    try positive(checkpoint.every, "checkpoint.every")
    try positive(storage.queue_depth, "storage.queue_depth")
    try require(seed >= 0, "seed", "\(seed) is negative", "give 0 or more")
    try require(
      model.d_model % model.num_attention_heads == 0, "model.num_attention_heads",
      "\(model.num_attention_heads) heads do not divide d_model = \(model.d_model)",
      "choose a divisor of \(model.d_model)")
    try require(
      model.d_model % 8 == 0, "model.d_model", "\(model.d_model) is not a multiple of 8",
      "use \(roundUp(model.d_model, to: 8))")
    try require(
      model.sparse_step <= max(model.encoder_layers, model.decoder_layers), "model.sparse_step",
      "\(model.sparse_step) leaves no layer with experts",
      "use at most \(max(model.encoder_layers, model.decoder_layers))")
    try require(
      model.capacity_factor > 0 && model.eval_capacity_factor > 0, "model.capacity_factor",
      "capacity factors must be positive", "1.0 to 2.0 are usual")
    try require(
      (0..<1).contains(model.router_jitter_noise), "model.router_jitter_noise",
      "\(model.router_jitter_noise) is outside 0..<1", "0.01 is usual")
    try require(
      !data.corpus.isEmpty, "data.corpus", "no corpus is named",
      "give the directory that `pagoda corpus prepare` wrote")
    try require(
      data.temperature > 0, "data.temperature", "\(data.temperature) is not positive",
      "1 samples languages by size, 5 is usual")
    try require(
      (0...1).contains(data.denoise), "data.denoise", "\(data.denoise) is outside 0...1",
      "0.2 is one sequence in five")
    try require(
      (0..<1).contains(data.mask_rate) && (0..<1).contains(data.deletion_rate),
      "data.mask_rate", "noise rates are outside 0..<1", "0.3 and 0.05 are usual")
    try require(
      (4...training.micro_batch_tokens).contains(data.max_sequence_tokens),
      "data.max_sequence_tokens",
      "\(data.max_sequence_tokens) is outside 4...\(training.micro_batch_tokens)",
      "a sequence must fit training.micro_batch_tokens")
    try require(
      training.learning_rate > 0, "training.learning_rate",
      "\(training.learning_rate) is not positive", "1e-3 is usual for small models")
    try require(
      (0..<1).contains(training.adam_beta1) && (0..<1).contains(training.adam_beta2),
      "training.adam_beta1", "Adam's betas are outside 0..<1", "0.9 and 0.98 are usual")
    try require(
      (0..<1).contains(training.label_smoothing_factor), "training.label_smoothing_factor",
      "\(training.label_smoothing_factor) is outside 0..<1", "0.1 is usual")
    try require(
      training.max_grad_norm > 0, "training.max_grad_norm",
      "\(training.max_grad_norm) is not positive", "use 1.0, or training.clip=none to switch it off"
    )
    try require(
      training.warmup_steps >= 0 && training.weight_decay >= 0 && evaluation.every >= 0
        && evaluation.max_tokens > 0 && evaluation.translations >= 0 && compute.threads >= 0,
      "training", "a count or rate is negative", "give 0 or more")
    _ = try bytes(memory.budget, key: "memory.budget")
    _ = try bytes(storage.block_bytes, key: "storage.block_bytes")
    let request = try bytes(storage.request_bytes, key: "storage.request_bytes")
    try require(
      request >= 4096 && request % 4096 == 0, "storage.request_bytes",
      "\(request) bytes is not a multiple of 4 KiB", "use 1MiB")
  }
}
