import Foundation
import Yams

/// Reading: defaults, then the file, then `key.path=value` overrides, each key checked against the
/// defaults, so that a misspelt key is an error and never silently ignored.
extension RunConfig {
  /// Reads the YAML file at `path` and applies `overrides` in order.
  /// - Throws: `ConfigError` naming file, line and key.
  package static func load(path: String, overrides: [String] = []) throws(ConfigError) -> RunConfig
  {
    let text: String
    do {
      text = try String(contentsOfFile: path, encoding: .utf8)
    } catch {
      throw ConfigError(
        key: "", problem: "cannot read the configuration \(path)",
        remedy: "check the path; tools/examples has configurations to start from",
        isMissingFile: true)
    }
    return try parse(text, name: path, overrides: overrides)
  }

  /// The configuration of a run to be made of a published model: the file at `path`, or without one
  /// the settings for fine-tuning, with `overrides`. Its family may be left to the model.
  package static func forImport(
    path: String?, overrides: [String]
  ) throws(ConfigError) -> RunConfig {
    if let path { return try load(path: path, overrides: overrides) }
    var standard = forFineTuning()
    // Any will do: the import takes that of the model.
    standard.model.family = PublishedFamily.switchTransformers.rawValue
    var config = try parse(
      standard.yaml(), name: "the settings for fine-tuning", overrides: overrides)
    if !overrides.contains(where: { $0.hasPrefix("model.family=") }) {
      config.model.family = RunConfig().model.family
    }
    return config
  }

  /// The same from text; `name` stands in error messages.
  package static func parse(
    _ text: String, name: String, overrides: [String] = []
  ) throws(ConfigError) -> RunConfig {
    var merged = try RunConfig().node()
    do {
      try checkAliases(text, name)
      if let file = try Yams.compose(yaml: text) {
        merged = try merge(merged, file, path: "", place: name)
      }
      for override in overrides {
        merged = try merge(merged, node(of: override, over: merged), path: "", place: "")
      }
      let config = try YAMLDecoder().decode(RunConfig.self, from: merged)
      try config.validate()
      return config
    } catch let error as ConfigError {
      throw error
    } catch {
      throw reading(error, name)
    }
  }

  /// The resolved configuration as YAML, for the run directory.
  package func yaml() -> String {
    do {
      let text = try YAMLEncoder().encode(self)
      guard var node = try Yams.compose(yaml: text) else { return text }
      // Keys that mean nothing of this family would only mislead.
      let isPublished = PublishedFamily(rawValue: model.family) != nil
      let foreign =
        isPublished
        ? ["model": ModelSection.zcodeKeys, "data": DataSection.preparedKeys]
        : ["model": ModelSection.publishedKeys, "data": DataSection.fileKeys]
      for (section, keys) in foreign {
        for key in keys { node[section]?.mapping?[Node(key)] = nil }
      }
      return try Yams.serialize(node: node)
    } catch {
      preconditionFailure("a configuration of numbers and strings always encodes: \(error)")
    }
  }

  private func node() throws(ConfigError) -> Node {
    do {
      guard let node = try Yams.compose(yaml: YAMLEncoder().encode(self)) else {
        preconditionFailure("defaults exist")
      }
      return node
    } catch {
      preconditionFailure("the defaults parse: \(error)")
    }
  }

  /// Refuses a text with many aliases (`*name`): a few dozen, of one another, stand for more nodes than
  /// anyone can wait for.
  private static func checkAliases(_ text: String, _ place: String) throws(ConfigError) {
    let most = 32
    let words = text.utf8.split(separator: UInt8(ascii: "*"), omittingEmptySubsequences: false)
    let isSpace = { (byte: UInt8) in byte <= 0x20 || byte == UInt8(ascii: "*") }
    // Behind a quote it is text, as in '*-en'.
    let isQuote = { (byte: UInt8) in byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") }
    let aliases = zip(words, words.dropFirst()).count { before, after in
      !(after.first.map(isSpace) ?? true) && !(before.last.map(isQuote) ?? false)
    }
    guard aliases > most else { return }
    throw ConfigError(
      key: "", problem: "has more than \(most) aliases, such as *name",
      remedy: "write out what they stand for", place: place)
  }

  /// More than any key has: nodes are let go of one inside the other.
  private static let keysMax = 8

  /// `a.b.c=value` as nested mappings. The value is YAML, but for keys that hold text: there it stands
  /// for itself, colons and all, unless it is quoted.
  private static func node(of override: String, over base: Node) throws -> Node {
    guard let equals = override.firstIndex(of: "="), equals != override.startIndex else {
      throw ConfigError(
        key: override, problem: "is not an override", remedy: "write key.path=value")
    }
    let value = String(override[override.index(after: equals)...])
    try checkAliases(value, "")
    let keys = override[..<equals].split(separator: ".")
    let standard = keys.reduce(base as Node?) { $0?[String($1)] }
    let isText = standard?.scalar != nil && standard?.float == nil && standard?.bool == nil
    let isQuoted = ["\"", "'"].contains(value.prefix(1))
    var node = isText && !isQuoted ? Node(value) : try Yams.compose(yaml: value) ?? Node("")
    guard keys.count <= keysMax else {
      throw ConfigError(
        key: "\(keys[0])...", problem: "unknown key", remedy: "keys have at most \(keysMax) parts")
    }
    for key in keys.reversed() {
      node = Node.mapping(.init([(Node(String(key)), node)]))
    }
    return node
  }

  /// The key of this very name in some section, with that: `training.clip` for `clip`.
  private static func elsewhere(_ name: String) -> String? {
    guard let sections = try? RunConfig().node().mapping else { return nil }
    let section = sections.first { $0.value.mapping?[Node(name)] != nil }
    return section.map { "\($0.key.string ?? "").\(name)" }
  }

  /// `upper` over `base`: mappings merge key by key, anything else replaces.
  private static func merge(
    _ base: Node, _ upper: Node, path: String, place: String
  ) throws(ConfigError) -> Node {
    guard var merged = base.mapping else {
      try checkBase(upper, of: base, path: path, place: place)
      return upper
    }
    let line = place.isEmpty || upper.mark == nil ? place : "\(place):\(upper.mark!.line)"
    guard let mapping = upper.mapping else {
      throw ConfigError(
        key: path, problem: "has sections below it, not a value",
        remedy: "give its keys, such as \(merged.keys.first?.string ?? "")", place: line)
    }
    for (key, value) in mapping {
      let name = key.string ?? "?"
      let full = path.isEmpty ? name : "\(path).\(name)"
      guard let below = merged[name] else {
        let known: [String] = merged.keys.compactMap(\.string)
        let near = (elsewhere(name) ?? nearest(name, among: known)).map { "did you mean `\($0)`?" }
        throw ConfigError(
          key: full, problem: "unknown key",
          remedy: near ?? "known keys here: \(known.joined(separator: ", "))",
          place: place.isEmpty ? "" : "\(place):\(key.mark?.line ?? 0)")
      }
      merged[name] = try merge(below, value, path: full, place: place)
    }
    return .mapping(merged)
  }

  /// Refuses numbers to the base 60, such as 1:30, where one is due: Yams multiplies without regard to
  /// overflow.
  private static func checkBase(
    _ value: Node, of standard: Node, path: String, place: String
  ) throws(ConfigError) {
    guard standard.float != nil, let text = value.scalar?.string, text.contains(":") else { return }
    throw ConfigError(
      key: path, problem: "`\(text.prefix(40))` is not a number of base 10",
      remedy: "write it in base 10", place: place)
  }

  private static func reading(_ error: any Error, _ name: String) -> ConfigError {
    switch error {
    case DecodingError.typeMismatch(let type, let context):
      return ConfigError(
        key: context.codingPath.map(\.stringValue).joined(separator: "."),
        problem: "is not of type \(type)", remedy: "give a value of that type", place: name)
    case DecodingError.dataCorrupted(let context), DecodingError.valueNotFound(_, let context):
      return ConfigError(
        key: context.codingPath.map(\.stringValue).joined(separator: "."),
        problem: context.debugDescription, remedy: "correct the value", place: name)
    default:
      return ConfigError(
        key: "", problem: "is not valid YAML: \(error)", remedy: "correct the file", place: name)
    }
  }
}
