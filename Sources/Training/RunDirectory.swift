import Foundation
import Storage

/// The directory of one run and the names in it.
package struct RunDirectory: Sendable {
  package let path: String

  package init(_ path: String) { self.path = path }

  package var config: String { path + "/config.yaml" }
  package var metrics: String { path + "/metrics.jsonl" }
  package var evaluations: String { path + "/evaluations.jsonl" }
  package var summary: String { path + "/summary.json" }
  package var store: String { path + "/store" }
  /// The small files of a published model.
  package var model: String { path + "/model" }

  /// The resolved configuration of the run that lives here; nil when none does.
  /// - Throws: `ConfigError` when there is one that cannot be read.
  package func savedConfig() throws(ConfigError) -> RunConfig? {
    guard FileManager.default.fileExists(atPath: config) else { return nil }
    return try RunConfig.load(path: config).resolved(in: self)
  }

  /// Refuses a directory that a run of `wanted` must not use; changes nothing.
  /// - Throws: `TrainingError.runBelongsToAnother` naming the keys that differ and would change
  ///   what is computed; `TrainingError.notARun` for a directory of other things.
  package func check(for wanted: RunConfig) throws {
    if let found = try savedConfig() {
      let differences = wanted.differences(from: found, isUntrained: isUntrained(found))
      guard differences.isEmpty else {
        throw TrainingError.runBelongsToAnother(path: path, differences: differences)
      }
    }
    // A store alone is what a first start leaves that died before it wrote its configuration; the
    // store knows by itself whom it belongs to.
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    if !FileManager.default.fileExists(atPath: config), Self.hasForeign(entries) {
      throw TrainingError.notARun(path: path)
    }
  }

  /// Whether what lives here is an imported model that has made no step.
  private func isUntrained(_ config: RunConfig) -> Bool {
    guard PublishedFamily(rawValue: config.model.family) != nil else { return false }
    return (try? config.storedRun(in: self))?.generation?.step == 0
  }

  private static func hasForeign(_ entries: [String]) -> Bool {
    entries.contains { $0 != "store" && !isLeftover($0) }
  }

  /// Whether Foundation made this file for an atomic write that a crash cut short.
  private static func isLeftover(_ entry: String) -> Bool { entry.hasPrefix(".dat.nosync") }

  /// Makes the directory if need be.
  package func create() throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw TrainingError.cannotCreate(path: path, cause: error.localizedDescription)
    }
  }

  /// Takes back what `create` made when nothing came to be in it.
  func removeIfEmpty() {
    let entries = try? FileManager.default.contentsOfDirectory(atPath: path)
    if entries?.isEmpty == true { try? FileManager.default.removeItem(atPath: path) }
  }

  /// Writes the resolved configuration: from now on the directory is this run's.
  package func claim(for config: RunConfig) throws {
    // The directory may be moved.
    let config = config.unresolved(in: self)
    do {
      try config.yaml().write(toFile: self.config, atomically: true, encoding: .utf8)
    } catch {
      throw TrainingError.cannotCreate(path: self.config, cause: error.localizedDescription)
    }
  }

  /// Deletes the run that lives here, with the store that its configuration names, so that the next
  /// one starts over. A store that another run made is never touched.
  /// - Throws: `TrainingError.notARun` for a directory that holds other things: it is left alone.
  package func erase() throws {
    let manager = FileManager.default
    guard let entries = try? manager.contentsOfDirectory(atPath: path), !entries.isEmpty else {
      return
    }
    if !manager.fileExists(atPath: config), Self.hasForeign(entries) {
      throw TrainingError.notARun(path: path)
    }
    // Without a readable configuration the store can only be where it is by default.
    let saved = try? savedConfig()
    try Store.erase(saved.map { Trainer.storePaths($0, self) } ?? [store])
    let events = entries.filter { $0.hasPrefix("events.out.tfevents.") || Self.isLeftover($0) }
    // The configuration last: as long as it is there, an interruption leaves a run to erase.
    let files = events + ["metrics.jsonl", "evaluations.jsonl", "summary.json", "config.yaml"]
    for entry in files.map({ "\(path)/\($0)" }) where manager.fileExists(atPath: entry) {
      try manager.removeItem(atPath: entry)
    }
  }
}

extension RunConfig {
  /// The parts that decide what is computed, as one text; `corpus` stands for the data by content. A
  /// published model is known by its content too, which is not here.
  ///
  /// Keys that came later than the first stores are left out where they say what was always done, so
  /// that runs of older versions remain what they are. Which experts are still there is no part of it: a
  /// pruned store is the same store, and its generation knows (`RunProgress`).
  package func identity(corpus: String) -> String {
    let standard = RunConfig()
    var whole = self
    whole.model.kept_experts = standard.model.kept_experts
    whole.model.kept_probabilities = standard.model.kept_probabilities
    let unsaid = [
      "boundaries: \(standard.training.boundaries)", "states: \(standard.training.states)",
      "master: \(standard.training.master)", "tasks_per_step: \(standard.data.tasks_per_step)",
      "num_experts_per_tok: \(standard.model.num_experts_per_tok)",
      "second_expert_policy: \(standard.model.second_expert_policy)",
      "optim: \(standard.training.optim)",
      "adafactor_scale_parameter: \(standard.training.adafactor_scale_parameter)",
      "tasks: []", "kept_experts: []",
      "kept_probabilities: \(standard.model.kept_probabilities)",
      "encoder_gate: \(standard.model.encoder_gate)",
      "decoder_gate: \(standard.model.decoder_gate)",
    ].map { "  " + $0 }
    return whole.computed(corpus: corpus).split(separator: "\n", omittingEmptySubsequences: false)
      .filter { !unsaid.contains(String($0)) }.joined(separator: "\n")
  }

  /// The same with every key.
  private func computed(corpus: String) -> String {
    var computed = RunConfig()
    (computed.seed, computed.model, computed.training) = (seed, model, training)
    computed.model.path = ""
    computed.data = data
    computed.data.corpus = corpus
    computed.storage.block_bytes = storage.block_bytes
    return computed.yaml()
  }

  /// The keys that decide what is computed and differ, each as `key: found, not wanted`. The corpus
  /// counts by its content, which the store knows, not by its path.
  /// - Parameter isUntrained: whether nothing has been computed yet: only what fixes the store
  ///   counts then.
  func differences(from found: RunConfig, isUntrained: Bool) -> [String] {
    var found = found
    if isUntrained {
      let family = found.model.family
      let kept = found.training
      (found.seed, found.data, found.training) = (seed, data, training)
      (found.training.states, found.training.master) = (kept.states, kept.master)
      found.training.optim = kept.optim
      found.model = model
      found.model.family = family
    }
    let (mine, theirs) = (computed(corpus: ""), found.computed(corpus: ""))
    return zip(Self.entries(mine), Self.entries(theirs)).filter { $0 != $1 }
      .map { "\($1) there, \($0) here" }
  }

  /// The keys of a resolved configuration with their values, each in one line: lists are longer in the file.
  private static func entries(_ yaml: String) -> [String] {
    yaml.split(separator: "\n").reduce(into: []) { entries, line in
      let text = line.trimmingCharacters(in: .whitespaces)
      if text.hasPrefix("- "), let last = entries.popLast() {
        entries.append(last + " " + text.dropFirst(2))
      } else {
        entries.append(text)
      }
    }
  }
}
