import Corpus
import Foundation
import TestSupport
import Testing
import Training

/// What programs read: one JSON object on stdout and nothing else there.
@Suite struct JSONTests {
  let workplace: Workplace
  init() throws { workplace = try Workplace() }

  /// The one object that `arguments --json` prints.
  private func object(
    _ arguments: [String], input: String? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> (fields: [String: Any], errors: String) {
    let ending = try Pagoda.run(arguments + ["--json"], input: input)
    ending.expect(0, sourceLocation: sourceLocation)
    let any = try JSONSerialization.jsonObject(with: Data(ending.output.utf8))
    return (
      try #require(any as? [String: Any], sourceLocation: sourceLocation), ending.errors
    )
  }

  @Test func trainPrintsItsSummary() throws {
    let (fields, errors) = try object(
      workplace.training("run", ["evaluation.translations=6", "evaluation.every=4"]))
    #expect(errors.contains("step 8/8") && errors.contains("held-out loss"))
    let promised: Set = [
      "run", "steps", "tokens", "training_seconds", "expert_parameters", "dense_parameters",
      "expert_state_bytes", "heldout_loss", "heldout_losses", "heldout_loss_by_task",
      "unigram_entropy", "read_bytes", "write_bytes", "hit_rate", "stall_share", "translations",
      "paths", "pools", "memory", "peak_rss_bytes", "memory_budget_bytes",
    ]
    #expect(promised.isSubset(of: fields.keys))
    #expect(try workplace.bytes("run/summary.json").count > 0)
    let saved = try JSONSerialization.jsonObject(with: workplace.bytes("run/summary.json"))
    #expect(try #require(saved as? NSDictionary) == fields as NSDictionary)

    let summary = try workplace.summary("run")
    let metrics = workplace.metrics("run")
    #expect(summary.steps == 8 && summary.tokens == metrics.reduce(0) { $0 + $1.tokens })
    #expect(summary.heldout_losses.map(\.step) == [4, 8])
    #expect(summary.heldout_loss == summary.heldout_losses.last?.loss)
    #expect(summary.heldout_loss_by_task.keys.contains("translate en-de"))
    #expect(summary.translations?.directions.count == 6)
    // Steps write while they run, or leave it to the commits; the summary has both.
    #expect(summary.write_bytes > metrics.reduce(0) { $0 + $1.write_bytes })
    #expect(summary.write_bytes >= summary.expert_state_bytes)
    expectPools(summary)
  }

  /// The pools are what was granted for frames, and no page of them is missing.
  private func expectPools(_ summary: RunSummary) {
    let granted = summary.memory.filter { $0.name.hasSuffix(" frames") }
    #expect(Set(granted.map(\.name)) == ["weight frames", "state frames"])
    #expect(
      summary.pools.reduce(0) { $0 + $1.bytes } == granted.reduce(0) { $0 + $1.bytes })
    #expect(summary.memory.reduce(0) { $0 + $1.bytes } <= summary.memory_budget_bytes)
    for pool in summary.pools {
      // A container may forbid the question.
      guard let pages = pool.pages_by_node else { continue }
      #expect(pool.absent_pages == 0 && pages.values.reduce(0, +) * 4096 == pool.bytes)
    }
  }

  @Test func everyLineOfMetricsHasThePromisedKeys() throws {
    try workplace.trained("run")
    let promised = """
      step loss aux_loss learning_rate grad_norm tokens tokens_per_s step_s forward_s backward_s \
      update_s stall_s router_stall_s read_bytes write_bytes read_gbps write_gbps hit_rate experts_touched \
      peak_rss_bytes memory_budget_bytes
      """.split(separator: " ").map(String.init)
    let lines = try workplace.lines("run/metrics.jsonl")
    #expect(lines.count == 8)
    for (index, line) in lines.enumerated() {
      let any = try JSONSerialization.jsonObject(with: Data(line.utf8))
      let fields = try #require(any as? [String: NSNumber])
      #expect(Set(promised).subtracting(fields.keys).isEmpty)
      #expect(fields["step"] == NSNumber(value: index + 1))
    }
    for line in workplace.metrics("run") {
      let waits = line.stall_s + line.router_stall_s
      let parts = line.forward_s + line.backward_s + line.update_s + waits
      #expect(abs(parts - line.step_s) < 0.01 * line.step_s)
      #expect(waits >= 0 && (0...1).contains(line.hit_rate))
    }
  }

  @Test func expertStatsCountEveryToken() throws {
    try workplace.trained("run")
    let (fields, errors) = try object(["expert", "stats", workplace.path("run")])
    #expect(errors.isEmpty && fields["step"] as? Int == 8)
    let layers = try #require(fields["layers"] as? [[String: Any]])
    #expect(layers.count == Workplace.layers)
    for layer in layers {
      let tokens = try #require(layer["tokens"] as? [Int])
      #expect(tokens.count == Workplace.experts && tokens.reduce(0, +) > 0)
      #expect(layer["touched"] as? Int == tokens.filter { $0 > 0 }.count)
    }
  }

  @Test func translatePairsSourceAndTranslation() throws {
    try workplace.trained("run")
    let command = ["translate", workplace.path("run"), "--to", "de"]
    let (fields, _) = try object(command, input: "Save the page\n\nUsers\n")
    let pairs = try #require(fields["translations"] as? [[String: String]])
    #expect(pairs.map { $0["source"] } == ["Save the page", "", "Users"])
    let plain = try workplace.translate("run", "Save the page\n\nUsers\n").output
    #expect(pairs.map { ($0["translation"] ?? "?") + "\n" }.joined() == plain)
    #expect(fields["to"] as? String == "de" && fields["run"] as? String == workplace.path("run"))
  }

  @Test func corpusPrepareDescribesTheCorpus() throws {
    try Fixture.writePackage(workplace.directory, "packages/one")
    let (fields, errors) = try object([
      "corpus", "prepare", "--packages", workplace.path("packages"), "--output",
      workplace.path("corpus"), "--languages", "de,fr", "--vocabulary", "600", "--held-out", "0.25",
    ])
    #expect(errors.contains("writing tokens"))
    #expect(
      (fields["languages"] as? [[String: Any]])?.compactMap { $0["tag"] as? String } == [
        "en", "de", "fr",
      ])
    let saved = try ParallelCorpus.readManifest(workplace.path("corpus"))
    #expect(fields["checksum"] as? String == saved.checksum)
    #expect(fields["trainingSegments"] as? Int == saved.trainingSegments)
    try workplace.trained("run", "data.corpus=\(workplace.path("corpus"))", "--steps", "1")
  }

  @Test func benchMemoryMeasuresEveryNode() throws {
    let (fields, _) = try object([
      "bench", "memory", "--size", "1MiB", "--seconds", "0.1", "--threads", "2",
    ])
    let rows = try #require(fields["rows"] as? [[String: Any]])
    #expect(!rows.isEmpty && fields["array_bytes"] as? Int == 1 << 20)
    for row in rows {
      for loop in ["copy", "triad", "memcpy", "read"] {
        #expect(((row[loop] as? [String: Any])?["median"] as? Double) ?? 0 > 0)
      }
    }
  }

  @Test func doctorDescribesTheMachine() throws {
    let (fields, _) = try object(["doctor", "--path", workplace.directory.path])
    #expect((fields["blas"] as? String)?.contains(/(OpenBLAS|oneDNN) [0-9]/) == true)
    #expect((fields["vectors"] as? String)?.hasPrefix("AVX") == true)
    let machine = try #require(fields["machine"] as? [String: Any])
    #expect((machine["memory"] as? [String: Any])?["total_bytes"] as? Int ?? 0 > 1 << 28)
    let directories = try #require(machine["directories"] as? [[String: Any]])
    #expect(directories.map { $0["path"] as? String } == [workplace.directory.path])
  }

  /// A refusal says nothing on stdout, where a reader would take it for a result.
  @Test func aRefusalLeavesStandardOutputEmpty() throws {
    let ending = try workplace.train("run", "--json", "--memory", "1MiB")
    ending.expect(71)
    #expect(ending.output.isEmpty)
  }

  @Test func helpAndVersionAreResults() throws {
    let version = try Pagoda.run(["--version"])
    version.expect(0)
    #expect(version.output.wholeMatch(of: /\d+\.\d+\.\d+\n/) != nil && version.errors.isEmpty)
    let commands = [
      [], ["train"], ["translate"], ["bench", "swap"], ["bench", "memory"], ["expert", "stats"],
      ["corpus", "prepare"],
      ["doctor"],
    ]
    for command in commands {
      let help = try Pagoda.run(command + ["--help"])
      help.expect(0)
      let parts = help.output.components(separatedBy: "USAGE: pagoda")
      #expect(parts.count == 2 && help.errors.isEmpty)
      // Each shows itself at work.
      #expect(parts[0].contains((["pagoda"] + command).joined(separator: " ") + " "))
    }
  }
}
