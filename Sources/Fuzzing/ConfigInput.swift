import Training

/// A configuration file and, each behind a byte 255, which no UTF-8 has, overrides of it.
enum ConfigInput {
  static func run(_ bytes: [UInt8]) {
    let parts = bytes.split(separator: 0xFF, omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }
    let config: RunConfig
    do throws(ConfigError) {
      config = try RunConfig.parse(
        parts[0], name: "config.yaml", overrides: Array(parts.dropFirst()))
    } catch {
      precondition(!error.description.isEmpty, "an error says something")
      return
    }
    // What a run resumes from is the configuration as it was written into the run.
    let again = try? RunConfig.parse(config.yaml(), name: "resolved")
    precondition(again == config, "a resolved configuration reads back equal")
  }

  static var seeds: [(name: String, bytes: [UInt8])] {
    let texts = [
      ("resolved", RunConfig().yaml().replacing("corpus: ''", with: "corpus: data/x")),
      (
        "overrides",
        "data: {corpus: x}\n\u{0}seed=7\u{0}storage.paths=[a, b]\u{0}memory.budget=4GiB"
      ),
      (
        "notations",
        """
        # numbers as YAML writes them
        seed: 0x1F
        data: &section {corpus: "a\\u00e9", temperature: 1.5e+0}
        training:
          learning_rate: .inf
          max_steps: 1_000
          warmup_steps: 1:30
        storage: {paths: [!!str a, 'b'], queue_depth: 0o17, io_thread: yes}
        memory:
          budget: |
            2GiB
        """
      ),
      ("aliases", "data: {corpus: &a x}\nstorage: {paths: [*a, &b y, *b]}\n"),
    ]
    return texts.map { name, text in
      (name, Array(text.utf8).map { $0 == 0 ? 0xFF : $0 })
    }
  }
}
