import ArgumentParser
import Base
import Foundation
import Surgery
import Training

extension ExpertCommand {
  struct Stats: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "How evenly experts are used, by layer; of held-out text by language or task.",
      discussion: """
        Without --held-out what training has counted, which reads no record. With it a forward sweep over
        the held-out text: a heat map of each layer, languages by experts, and which languages share
        experts.

          pagoda expert stats runs/quickstart
          pagoda expert stats runs/quickstart --held-out --by task
          pagoda expert stats runs/quickstart --held-out --html experts.html
        """)

    @OptionGroup var source: SourceOptions

    @Flag(help: "Count where held-out text goes, by language or task.")
    var heldOut = false

    @Option(help: "What is told apart with --held-out: language or task.")
    var by = LanguageUsage.Grouping.language

    @Option(help: "Write the heat maps to this HTML file; needs --held-out.")
    var html: String?

    func validate() throws {
      if html != nil && !heldOut { throw ValidationError("--html shows --held-out: give both") }
    }

    func run() throws {
      try reportingFailures {
        let config = try source.config()
        if heldOut { return try showHeldOut(config) }
        let (_, store) = try openStore(source.directory, paths: source.store)
        let mixtures = try config.mixtures()
        let usage = ExpertUsage(store, experts: mixtures.experts, there: mixtures.there)
        if source.json { return try Output.json(usage) }
        let rows = usage.layers.map {
          [
            "\($0.layer)", "\($0.touched) of \($0.experts)", fixed($0.evenness, 3),
            "\(fixed(100 * $0.largestShare, 1)) %", "\($0.tokens.min() ?? 0)",
            "\($0.tokens.max() ?? 0)",
          ]
        }
        let head = [
          "layer", "touched", "evenness", "largest share", "fewest tokens", "most tokens",
        ]
        for line in table([head] + rows) { Output.result(line) }
      }
    }

    private func showHeldOut(_ config: RunConfig) throws {
      let usage = LanguageUsage(try source.usage(config), by: by)
      if let html { try UsagePage(usage).write(to: html) }
      if source.json { return try Output.json(usage) }
      for layer in usage.layers {
        for line in UsageMap(usage, layer).lines(inColour: Output.resultsHaveColour) {
          Output.result(line)
        }
        Output.result("")
      }
      for isEncoder in [true, false] {
        let pairs = usage.kinships.filter { $0.isEncoder == isEncoder }
        guard !pairs.isEmpty else { continue }
        let side = isEncoder ? "encoder" : "decoder"
        let ends = pairs.count > 10 ? Array(pairs.prefix(5) + pairs.suffix(5)) : pairs
        let rows = ends.map { ["\($0.first), \($0.second)", fixed($0.similarity, 3)] }
        for line in table([["share experts of the \(side)", "similarity"]] + rows) {
          Output.result(line)
        }
      }
    }
  }
}

extension LanguageUsage.Grouping: ExpressibleByArgument {}

/// A layer's experts and who goes to them, a character a cell.
struct UsageMap {
  private let usage: LanguageUsage
  private let layer: LanguageUsage.Layer

  init(_ usage: LanguageUsage, _ layer: LanguageUsage.Layer) {
    (self.usage, self.layer) = (usage, layer)
  }

  func lines(inColour: Bool) -> [String] {
    let most = layer.shares.joined().max() ?? 1
    let width = usage.groups.map(\.count).max() ?? 0
    let side = layer.isEncoder ? "encoder" : "decoder"
    let head =
      "layer \(layer.layer) (\(side)), \(layer.shares.first?.count ?? 0) experts: evenness "
      + "\(fixed(layer.evenness, 3)), darkest 0, brightest \(fixed(100 * most, 0)) % of a row"
    return [head]
      + zip(usage.groups, zip(layer.shares, layer.groupEvenness)).compactMap {
        name, row -> String? in
        guard row.0.contains(where: { $0 > 0 }) else { return nil }
        let cells = row.0.map { share in
          let heat = most > 0 ? share / most : 0
          return inColour ? Heat.coloured(" ", heat) : String(Heat.shade(heat))
        }.joined()
        let padding = String(repeating: " ", count: width - name.count)
        return "\(name)\(padding) |\(cells)| \(fixed(row.1, 2))"
      }
  }
}

/// The same as one HTML file that needs nothing else.
struct UsagePage {
  private let usage: LanguageUsage

  init(_ usage: LanguageUsage) { self.usage = usage }

  private static let style = """
    :root { color-scheme: light dark; --ink: #1b1b1b; --ground: #fff; --hot: 214 90 20; }
    @media (prefers-color-scheme: dark) { :root { --ink: #ddd; --ground: #161616; --hot: 255 170 60; } }
    body { font: 14px system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 2em; }
    table { border-collapse: collapse; margin: 0 0 2em; }
    th { font-weight: normal; text-align: left; padding-right: .6em; white-space: nowrap; }
    td { width: 12px; height: 14px; padding: 0; }
    td.n { width: auto; padding: 0 .8em; text-align: right; }
    """

  func write(to path: String) throws {
    do {
      try text.write(toFile: path, atomically: true, encoding: .utf8)
    } catch {
      throw TrainingError.cannotCreate(path: path, cause: error.localizedDescription)
    }
  }

  private var text: String {
    let layers = usage.layers.map(map).joined(separator: "\n")
    let kin = usage.kinships.filter { $0.similarity > 0 }.prefix(40).map {
      "<tr><th>\(Self.escaped($0.first)), \(Self.escaped($0.second))</th>"
        + "<th>\($0.isEncoder ? "encoder" : "decoder")</th>"
        + "<td class=n>\(fixed($0.similarity, 3))</td></tr>"
    }.joined(separator: "\n")
    return """
      <!doctype html>
      <html lang="en"><head><meta charset="utf-8"><title>Experts of \(Self.escaped(usage.run))</title>
      <style>\(Self.style)</style></head><body>
      <h1>Experts of \(Self.escaped(usage.run)), step \(usage.step)</h1>
      <p>Where held-out text goes: of each row's choices, the share of each expert.</p>
      \(layers)
      <h2>Who shares experts</h2>
      <table>\(kin)</table>
      </body></html>

      """
  }

  private func map(_ layer: LanguageUsage.Layer) -> String {
    let most = max(layer.shares.joined().max() ?? 1, 1e-9)
    let rows = zip(usage.groups, layer.shares).filter { $1.contains { $0 > 0 } }.map { name, row in
      let cells = row.enumerated().map { expert, share in
        "<td title='\(Self.escaped(name)), expert \(expert): \(fixed(100 * share, 1)) %' "
          + "style='background: rgb(var(--hot) / \(fixed(share / most, 3)))'></td>"
      }.joined()
      return "<tr><th>\(Self.escaped(name))</th>\(cells)</tr>"
    }.joined(separator: "\n")
    return """
      <h2>Layer \(layer.layer), \(layer.isEncoder ? "encoder" : "decoder"), evenness \
      \(fixed(layer.evenness, 3))</h2>
      <table>\(rows)</table>
      """
  }

  private static func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
      .replacingOccurrences(of: "'", with: "&#39;")
  }
}
