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
  ("training: {clip: global}", "training.clip", "block"),
  ("model: {sparse_step: 9}", "model.sparse_step", "at most 4"),
  ("storage: {queue_depth: 5000}", "storage.queue_depth", "at most 4096"),
  ("training: {min_lr_ratio: 2}", "training.min_lr_ratio", "up to 1"),
  ("training: {adam_epsilon: 0}", "training.adam_epsilon", "above 0"),
  ("compute: {threads: 5000}", "compute.threads", "at most 4096"),
  ("model: {min_capacity: -1}", "model.min_capacity", "at least 0"),
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
