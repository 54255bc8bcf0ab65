import Base
import Corpus
import DirectIO
import Layers
import PinnedMemory

extension RunConfig {
  /// Bytes of the size `text`, the value of `key`.
  package func bytes(_ text: String, key: String) throws(ConfigError) -> Int {
    guard let size = ByteCount(parsing: text) else {
      throw ConfigError(
        key: key, problem: "`\(text)` is not a size", remedy: "write 512MiB, 4GiB or 1.5e9")
    }
    return size.bytes
  }

  /// Refuses what cannot be: each error names the key and what would do.
  package func validate() throws(ConfigError) {
    try inside(seed, 0...Int.max, "seed")
    try validateModel()
    try validateData()
    try validateTraining()
    try validateMachine()
  }

  private func validateModel() throws(ConfigError) {
    try choose(model.family, "model.family", ["zcode"] + PublishedFamily.allCases.map(\.rawValue))
    try choose(model.weights, "model.weights", ["bf16", "fp32"])
    try choose(model.aux, "model.aux", ["automatic", "hf", "per_layer", "none"])
    try choose(
      model.kept_probabilities, "model.kept_probabilities",
      KeptExperts.Probabilities.allCases.map(\.rawValue))
    guard !model.kept_experts.isEmpty || model.kept_probabilities == "kept" else {
      throw ConfigError(
        key: "model.kept_probabilities", problem: "is of kept experts, and all are there",
        remedy: "leave it out, or give model.kept_experts")
    }
    if model.router_z_loss_coef != "automatic" {
      guard let coefficient = Double(model.router_z_loss_coef) else {
        throw ConfigError(
          key: "model.router_z_loss_coef", problem: "`\(model.router_z_loss_coef)` is no number",
          remedy: "give a number, or automatic")
      }
      try inside(coefficient, 0..<1e6, "model.router_z_loss_coef")
    }
    if PublishedFamily(rawValue: model.family) == nil {
      try validateZcode()
    } else {
      try requireZcodeUntouched()
    }
  }

  /// The shape of a published model is in its `config.json` and nowhere else.
  private func requireZcodeUntouched() throws(ConfigError) {
    let standard = ModelSection()
    var mine = model
    (mine.family, mine.path) = (standard.family, standard.path)
    (mine.aux, mine.router_z_loss_coef) = (standard.aux, standard.router_z_loss_coef)
    mine.weights = standard.weights
    (mine.kept_experts, mine.kept_probabilities) = (
      standard.kept_experts, standard.kept_probabilities
    )
    guard mine == standard else {
      throw ConfigError(
        key: "model", problem: "has keys of zcode beside family \(model.family)",
        remedy: "leave them out: the shape of a published model is in its config.json")
    }
  }

  private func validateZcode() throws(ConfigError) {
    for (key, value) in [
      ("path", model.path), ("aux", model.aux), ("router_z_loss_coef", model.router_z_loss_coef),
    ] where value != "automatic" && !value.isEmpty {
      throw ConfigError(
        key: "model.\(key)", problem: "is for published families, not for zcode",
        remedy: "leave it out, or choose another model.family")
    }
    try inside(model.num_experts, 1...1 << 20, "model.num_experts")
    try validateGates()
    try inside(model.d_model, 8...1 << 16, "model.d_model")
    try inside(model.encoder_layers, 1...1 << 12, "model.encoder_layers")
    try inside(model.decoder_layers, 1...1 << 12, "model.decoder_layers")
    try inside(model.num_attention_heads, 1...1 << 10, "model.num_attention_heads")
    try inside(model.ffn_dim, 1...1 << 20, "model.ffn_dim")
    try inside(model.min_capacity, 0...1 << 20, "model.min_capacity")
    try inside(
      model.sparse_step, 1...max(model.encoder_layers, model.decoder_layers), "model.sparse_step")
    try positive(model.capacity_factor, "model.capacity_factor")
    try positive(model.eval_capacity_factor, "model.eval_capacity_factor")
    try inside(model.router_jitter_noise, 0..<1, "model.router_jitter_noise")
    try inside(model.router_aux_loss_coef, 0..<1e6, "model.router_aux_loss_coef")
    guard model.d_model % model.num_attention_heads == 0 else {
      throw ConfigError(
        key: "model.num_attention_heads",
        problem: "\(model.num_attention_heads) heads do not divide d_model = \(model.d_model)",
        remedy: "choose a divisor of \(model.d_model)")
    }
    guard model.d_model % 8 == 0 else {
      throw ConfigError(
        key: "model.d_model", problem: "\(model.d_model) is not a multiple of 8",
        remedy: "use \(roundUp(model.d_model, to: 8))")
    }
    let layers = model.encoder_layers / model.sparse_step + model.decoder_layers / model.sparse_step
    _ = try keptExperts(
      layers: layers, experts: model.num_experts, perToken: model.num_experts_per_tok)
  }

  private func validateGates() throws(ConfigError) {
    try choose(
      model.token_selection, "model.token_selection", TokenSelection.allCases.map(\.rawValue))
    try inside(
      model.num_experts_per_tok, 1...min(2, model.num_experts), "model.num_experts_per_tok")
    try choose(
      model.second_expert_policy, "model.second_expert_policy",
      SecondExpertPolicy.allCases.map(\.rawValue))
    try choose(model.encoder_gate, "model.encoder_gate", GateChoice.allCases.map(\.rawValue))
    try choose(
      model.decoder_gate, "model.decoder_gate",
      GateChoice.allCases.filter { $0 != .sentence }.map(\.rawValue))
    try refuseWhatNoGateUses()
  }

  /// Keys that say something other than usual and that none of the gates would ever look at.
  private func refuseWhatNoGateUses() throws(ConfigError) {
    let standard = ModelSection()
    let gates = [model.encoder_gate, model.decoder_gate].map(GateChoice.init)
    func refuse(_ key: String, _ isUsual: Bool, _ why: String) throws(ConfigError) {
      guard !isUsual else { return }
      throw ConfigError(
        key: "model.\(key)", problem: why, remedy: "leave it out, or choose other gates")
    }
    if !gates.contains(.token) {
      let why = "is for gates by token, and there is none"
      try refuse("router_jitter_noise", model.router_jitter_noise == 0, why)
      try refuse("second_expert_policy", model.second_expert_policy == "all", why)
    }
    if model.num_experts_per_tok == 1 {
      try refuse(
        "second_expert_policy", model.second_expert_policy == standard.second_expert_policy,
        "is of a second expert, and a token chooses one")
    }
    if !gates.contains(.token), !gates.contains(.sentence) {
      let why = "is of full experts, and those of a task are never full"
      try refuse("token_selection", model.token_selection == standard.token_selection, why)
      try refuse("capacity_factor", model.capacity_factor == standard.capacity_factor, why)
      try refuse(
        "eval_capacity_factor", model.eval_capacity_factor == standard.eval_capacity_factor, why)
      try refuse("min_capacity", model.min_capacity == standard.min_capacity, why)
    }
  }

  private func validateData() throws(ConfigError) {
    try choose(data.pairs, "data.pairs", ["english", "all"])
    try positive(data.temperature, "data.temperature")
    try inside(data.tasks_per_step, 0...1 << 14, "data.tasks_per_step")
    try inside(data.denoise, 0..<1.0.nextUp, "data.denoise")
    try inside(data.mask_rate, 0..<1, "data.mask_rate")
    try inside(data.deletion_rate, 0..<1, "data.deletion_rate")
    try choose(
      data.format, "data.format", ["automatic"] + TextFormat.allCases.map(\.rawValue))
    try choose(
      data.chat_template, "data.chat_template",
      ["automatic"] + ChatTemplate.allCases.map(\.rawValue))
    try inside(data.held_out, 0..<1, "data.held_out")
    // A sequence must fit a micro-batch.
    try inside(training.micro_batch_tokens, 4...1 << 24, "training.micro_batch_tokens")
    try inside(
      data.max_sequence_tokens, 4...training.micro_batch_tokens, "data.max_sequence_tokens")
    // An imported model has not been told yet what to train on.
    if PublishedFamily(rawValue: model.family) == nil { try requireCorpus() }
  }

  /// - Throws: `ConfigError` when there is nothing to train on.
  package func requireCorpus() throws(ConfigError) {
    guard data.corpus.isEmpty else { return }
    throw ConfigError(
      key: "data.corpus", problem: "no corpus is named",
      remedy: PublishedFamily(rawValue: model.family) == nil
        ? "give the directory that `pagoda corpus prepare` wrote"
        : "give a file of pairs, text or chats, as data.corpus=FILE")
  }

  private func validateTraining() throws(ConfigError) {
    try choose(
      training.lr_scheduler_type, "training.lr_scheduler_type",
      ["constant", "linear", "cosine", "inverse_sqrt"])
    try choose(training.optim, "training.optim", OptimizerChoice.allCases.map(\.rawValue))
    try choose(training.clip, "training.clip", ["block", "global", "none"])
    try choose(training.boundaries, "training.boundaries", ["fp32", "bf16"])
    try choose(
      training.untouched, "training.untouched",
      ["automatic"] + StepOptions.Untouched.allCases.map(\.rawValue))
    try choose(training.states, "training.states", StatePrecision.allCases.map(\.rawValue))
    if training.optim == OptimizerChoice.adafactor.rawValue, training.states != "fp32" {
      throw ConfigError(
        key: "training.states", problem: "Adafactor has no moments of each parameter to round",
        remedy: "leave it at fp32, or use training.optim=adamw")
    }
    try choose(training.master, "training.master", MasterPrecision.allCases.map(\.rawValue))
    try inside(training.max_steps, 1...Int(UInt32.max), "training.max_steps")
    try inside(
      training.gradient_accumulation_steps, 1...1 << 14, "training.gradient_accumulation_steps")
    try inside(training.warmup_steps, 0...Int(UInt32.max), "training.warmup_steps")
    try positive(training.learning_rate, "training.learning_rate")
    try positive(training.adam_epsilon, "training.adam_epsilon")
    try positive(training.max_grad_norm, "training.max_grad_norm")
    try inside(training.min_lr_ratio, 0..<1.0.nextUp, "training.min_lr_ratio")
    try inside(training.adam_beta1, 0..<1, "training.adam_beta1")
    try inside(training.adam_beta2, 0..<1, "training.adam_beta2")
    try inside(training.weight_decay, 0..<1e6, "training.weight_decay")
    try inside(training.label_smoothing_factor, 0..<1, "training.label_smoothing_factor")
  }

  private func validateMachine() throws(ConfigError) {
    try choose(memory.spill, "memory.spill", BoundaryPlan.Spill.allCases.map(\.rawValue))
    try choose(memory.recompute, "memory.recompute", TapePlan.Recompute.allCases.map(\.rawValue))
    try choose(memory.numa, "memory.numa", NumaPolicy.allCases.map(\.rawValue))
    try choose(memory.dense, "memory.dense", ["automatic", "resident", "paged"])
    try choose(storage.engine, "storage.engine", ["automatic", "io_uring", "threads"])
    try choose(storage.ring, "storage.ring", ["automatic"] + RingMode.allCases.map(\.rawValue))
    try choose(
      storage.mixing, "storage.mixing", ["automatic"] + Mixing.allCases.map(\.rawValue))
    try inside(storage.queue_depth, 0...4096, "storage.queue_depth")
    try inside(checkpoint.every, 1...Int.max, "checkpoint.every")
    try inside(checkpoint.seconds, 0...Int.max, "checkpoint.seconds")
    try inside(checkpoint.keep, 1...1 << 10, "checkpoint.keep")
    try inside(evaluation.every, 0...Int.max, "evaluation.every")
    try inside(evaluation.max_tokens, 1...Int.max, "evaluation.max_tokens")
    try inside(evaluation.translations, 0...1 << 20, "evaluation.translations")
    try inside(compute.threads, 0...4096, "compute.threads")
    _ = try bytes(memory.budget, key: "memory.budget")
    if memory.held_gradients != "automatic" {
      _ = try bytes(memory.held_gradients, key: "memory.held_gradients")
    }
    _ = try bytes(storage.block_bytes, key: "storage.block_bytes")
    try validateRequests()
  }

  private func validateRequests() throws(ConfigError) {
    guard storage.request_bytes != "automatic" else { return }
    let request = try bytes(storage.request_bytes, key: "storage.request_bytes")
    guard request >= 4096, request % 4096 == 0, request <= 1 << 30 else {
      throw ConfigError(
        key: "storage.request_bytes",
        problem: "\(request) bytes is no multiple of 4 KiB up to 1 GiB",
        remedy: "use 1MiB, or automatic")
    }
  }

  // MARK: Rules

  private func choose(_ value: String, _ key: String, _ choices: [String]) throws(ConfigError) {
    guard !choices.contains(value) else { return }
    let near = nearest(value, among: choices).map { "did you mean `\($0)`? " } ?? ""
    throw ConfigError(
      key: key, problem: "`\(value)` is not known",
      remedy: near + "choose one of: " + choices.joined(separator: ", "))
  }

  private func inside(_ value: Int, _ range: ClosedRange<Int>, _ key: String) throws(ConfigError) {
    guard !range.contains(value) else { return }
    throw ConfigError(
      key: key, problem: "\(value) is out of range",
      remedy: value < range.lowerBound
        ? "give at least \(range.lowerBound)" : "give at most \(range.upperBound)")
  }

  private func inside(_ value: Double, _ range: Range<Double>, _ key: String) throws(ConfigError) {
    guard !range.contains(value) else { return }
    throw ConfigError(
      key: key, problem: "\(value) is out of range",
      remedy: "give a number from \(range.lowerBound) up to \(Float(range.upperBound))")
  }

  private func positive(_ value: Double, _ key: String) throws(ConfigError) {
    guard value > 0, value.isFinite else {
      throw ConfigError(
        key: key, problem: "\(value) is not a positive number", remedy: "give a number above 0")
    }
  }
}
