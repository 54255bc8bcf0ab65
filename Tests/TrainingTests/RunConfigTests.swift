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
  ] {
    let error = #expect(throws: ConfigError.self) {
      try RunConfig.parse(minimal, name: "c.yaml", overrides: [override])
    }
    #expect(error?.remedy.contains(words) == true, "\(error?.remedy ?? "")")
  }
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
  #expect(lines.contains("  untouched: automatic"))
}

@Test func precisionIsPartOfTheIdentity() throws {
  let standard = try RunConfig.parse(minimal, name: "c.yaml").identity(corpus: "")
  for override in [
    "training.states=int8", "training.states=bf16", "training.master=bf16",
    "training.boundaries=bf16",
  ] {
    let other = try RunConfig.parse(minimal, name: "c.yaml", overrides: [override])
    #expect(other.identity(corpus: "") != standard)
  }
}
