import Layers
import Testing
import Training

private let minimal = "data: {corpus: data/x}\n"

@Test func defaultsFillWhatTheFileLeavesOut() throws {
  let config = try RunConfig.parse(minimal + "model: {d_model: 128}\n", name: "c.yaml")
  #expect(config.model.d_model == 128)
  #expect(config.model.encoder_layers == RunConfig().model.encoder_layers)
}

@Test func overridesComeLast() throws {
  let config = try RunConfig.parse(
    minimal + "training: {learning_rate: 0.5}\n", name: "c.yaml",
    overrides: ["training.learning_rate=2e-3", "storage.paths=[a, b]"])
  #expect(config.training.learning_rate == 2e-3)
  #expect(config.storage.paths == ["a", "b"])
}

@Test func aResolvedConfigReadsBackEqual() throws {
  let config = try RunConfig.parse(minimal + "seed: 7\n", name: "c.yaml")
  #expect(try RunConfig.parse(config.yaml(), name: "resolved") == config)
}

/// Each mistake names its key and a remedy.
@Test(arguments: [
  ("trainning: {max_steps: 3}", "trainning", "did you mean `training`?"),
  ("memory: {numa: interleaved}", "memory.numa", "did you mean `interleave`?"),
  ("training: {learning_rte: 1}", "training.learning_rte", "did you mean `learning_rate`?"),
  ("training: {learning_rate: fast}", "training.learning_rate", "type"),
  ("model: {num_attention_heads: 7}", "model.num_attention_heads", "divisor of 256"),
  ("training: 3", "training", "give its keys"),
  ("memory: {budget: lots}", "memory.budget", "512MiB"),
  ("training: {clip: blok}", "training.clip", "block"),
  ("training: {boundaries: bf61}", "training.boundaries", "did you mean `bf16`?"),
  ("memory: {spill: allways}", "memory.spill", "did you mean `always`?"),
  ("model: {sparse_step: 9}", "model.sparse_step", "at most 4"),
  ("storage: {queue_depth: 5000}", "storage.queue_depth", "at most 4096"),
  ("training: {min_lr_ratio: 2}", "training.min_lr_ratio", "up to 1"),
  ("training: {adam_epsilon: 0}", "training.adam_epsilon", "above 0"),
  ("compute: {threads: 5000}", "compute.threads", "at most 4096"),
  ("model: {min_capacity: -1}", "model.min_capacity", "at least 0"),
  ("training: {warmup_steps: 1:30}", "training.warmup_steps", "base 10"),
  ("seed: 1:1:1:1:1:1:1:1:1:1:1:1:1", "seed", "base 10"),
  (
    "training: {gradient_accumulation_steps: 20000}", "training.gradient_accumulation_steps",
    "at most"
  ),
])
func mistakesAreNamed(_ line: String, _ key: String, _ remedy: String) {
  let error = #expect(throws: ConfigError.self) {
    try RunConfig.parse(minimal + line, name: "c.yaml")
  }
  #expect(error?.key == key)
  #expect(error?.description.contains(remedy) == true, "\(String(describing: error))")
}

@Test func anUnknownKeyNamesItsLine() {
  let error = #expect(throws: ConfigError.self) {
    try RunConfig.parse("seed: 1\n\nmodell: {}\n" + minimal, name: "c.yaml")
  }
  #expect(error?.place == "c.yaml:3")
}

/// Forty aliases of one another would stand for 2^20 nodes.
@Test func manyAliasesAreRefused() {
  let bomb = (1...20).map { "a\($0): &a\($0) [*a\($0 - 1), *a\($0 - 1)]\n" }.joined()
  let error = #expect(throws: ConfigError.self) {
    try RunConfig.parse("a0: &a0 x\n" + bomb + "? *a20\n: x\n", name: "c.yaml")
  }
  #expect(error?.description.contains("aliases") == true)
  let patterns = (0..<40).map { "'*-l\($0)'" }.joined(separator: ", ")
  #expect(throws: Never.self) {
    try RunConfig.parse("data: {corpus: x, tasks: [\(patterns)]}\n", name: "c.yaml")
  }
  let stars = "# " + String(repeating: "*", count: 80) + "\n# * a list\n"
  #expect(throws: Never.self) {
    try RunConfig.parse(stars + "data: {corpus: &c x}\nstorage: {paths: [*c]}\n", name: "c.yaml")
  }
}

@Test func anOverrideOfManyPartsIsRefused() {
  let error = #expect(throws: ConfigError.self) {
    try RunConfig.parse(
      minimal, name: "c.yaml", overrides: [String(repeating: "a.", count: 50_000) + "b=1"])
  }
  #expect(error?.problem == "unknown key")
}

@Test func textIsTakenAsItStands() throws {
  let config = try RunConfig.parse(
    "data: {corpus: c}", name: "test",
    overrides: [
      "data.prefix=translate English to German: ", "data.source_language='de'",
      "model.router_z_loss_coef=0.5", "training.learning_rate=1e-3", "model.family=mixtral",
    ])
  #expect(config.data.prefix == "translate English to German: ")
  #expect(config.data.source_language == "de")
  #expect(config.model.router_z_loss_coef == "0.5")
  #expect(config.training.learning_rate == 1e-3)
}

@Test func anUnknownPrecisionIsRefusedWithWhatThereIs() {
  for (override, words) in [
    ("training.states=bf61", "did you mean `bf16`? choose one of: fp32, bf16, int8"),
    ("training.states=none", "choose one of: fp32, bf16, int8"),
    ("training.master=int8", "choose one of: fp32, bf16"),
    ("training.state=int8", "did you mean `states`?"),
    ("training.optim=adafaktor", "did you mean `adafactor`? choose one of: adamw, adafactor"),
  ] {
    let error = #expect(throws: ConfigError.self) {
      try RunConfig.parse(minimal, name: "c.yaml", overrides: [override])
    }
    #expect(error?.remedy.contains(words) == true, "\(error?.remedy ?? "")")
  }
}

@Test func adafactorHasNoMomentsToRound() {
  let error = #expect(throws: ConfigError.self) {
    try RunConfig.parse(
      minimal, name: "c.yaml", overrides: ["training.optim=adafactor", "training.states=int8"])
  }
  #expect(error?.key == "training.states")
}

/// What older versions did without a key is the same run with it: no key that came later is there
/// unless it says something else.
@Test func keysThatCameLaterChangeNoOlderRun() throws {
  let standard = try RunConfig.parse(minimal, name: "c.yaml")
  let lines = standard.identity(corpus: "x").split(separator: "\n")
  for key in ["boundaries", "states", "master"] {
    #expect(!lines.contains { $0.hasPrefix("  \(key):") }, "\(key)")
    #expect(standard.yaml().contains("  \(key): fp32"), "\(key)")
  }
  for key in [
    "num_experts_per_tok", "second_expert_policy", "encoder_gate", "decoder_gate", "kept_experts",
    "kept_probabilities", "tasks_per_step", "tasks", "optim", "adafactor_scale_parameter",
  ] {
    #expect(!lines.contains { $0.hasPrefix("  \(key):") }, "\(key)")
    #expect(standard.yaml().contains("  \(key):"), "\(key)")
  }
  #expect(lines.contains("  untouched: automatic"))
}

/// What is pruned is the same store: its generation knows which experts it has.
@Test func keptExpertsAreNoPartOfTheIdentity() throws {
  func parse(_ overrides: String...) throws -> RunConfig {
    try RunConfig.parse(minimal, name: "c.yaml", overrides: overrides)
  }
  let standard = try parse().identity(corpus: "")
  let pruned = try parse("model.kept_experts=[0-3, '1,5-6', '7', 0-7]")
  #expect(pruned.identity(corpus: "") == standard)
  #expect(try RunConfig.parse(pruned.yaml(), name: "again") == pruned)
  let kept = try pruned.keptExperts(layers: 4, experts: 8, perToken: 1)
  #expect(kept?.map(\.experts) == [[0, 1, 2, 3], [1, 5, 6], [7], Array(0..<8)])
  #expect(try parse("data.tasks=[de-en]").identity(corpus: "") != standard)
}

/// Each with what is wrong.
@Test(arguments: [
  ("model.kept_experts=[0-3]", "has 1 layers, the model 4 with experts"),
  ("model.kept_experts=[0-3, 0-3, 0-3, 0-8]", "`0-8` is no list"),
  ("model.kept_experts=[0-3, 0-3, 0-3, '3,2']", "`3,2` is no list"),
  ("model.kept_experts=[0-3, 0-3, 0-3, '']", "`` is no list"),
  ("model.kept_experts=[0-3, 0-3, 0-3, a]", "`a` is no list"),
  ("model.decoder_gate=sentence", "`sentence` is not known"),
  ("model.encoder_gate=tokens", "`tokens` is not known"),
  ("model.num_experts_per_tok=3", "3 is out of range"),
  ("model.num_experts=0", "0 is out of range"), ("model.num_experts=-1", "-1 is out of range"),
  ("model.second_expert_policy=sampling", "is of a second expert"),
  ("model.kept_probabilities=all", "is of kept experts"),
  ("model.second_expert_policy=none", "`none` is not known"),
  ("model.token_selection=last", "`last` is not known"),
  ("data.tasks_per_step=-1", "-1 is out of range"),
])
func gatesThatCannotBeAreRefused(_ override: String, _ words: String) {
  let error = #expect(throws: ConfigError.self) {
    try RunConfig.parse(minimal, name: "c.yaml", overrides: [override])
  }
  #expect(error?.problem.contains(words) == true, "\(error?.problem ?? "")")
}

@Test(arguments: [
  ("sentence", "router_jitter_noise=0.1"), ("target_language", "capacity_factor=2"),
  ("target_language", "token_selection=first"), ("language_pair", "min_capacity=8"),
])
func whatNoGateUsesIsRefused(_ encoder: String, _ override: String) {
  let gates = ["model.encoder_gate=\(encoder)", "model.decoder_gate=target_language"]
  let error = #expect(throws: ConfigError.self) {
    try RunConfig.parse(minimal, name: "c.yaml", overrides: gates + ["model.\(override)"])
  }
  #expect(error.map { override.hasPrefix($0.key.dropFirst("model.".count)) } == true)
  #expect(throws: Never.self) { try RunConfig.parse(minimal, name: "c.yaml", overrides: gates) }
}

@Test func precisionIsPartOfTheIdentity() throws {
  let standard = try RunConfig.parse(minimal, name: "c.yaml").identity(corpus: "")
  for override in [
    "training.states=int8", "training.states=bf16", "training.master=bf16",
    "training.boundaries=bf16", "training.optim=adafactor",
    "training.adafactor_scale_parameter=false",
  ] {
    let other = try RunConfig.parse(minimal, name: "c.yaml", overrides: [override])
    #expect(other.identity(corpus: "") != standard)
  }
}
