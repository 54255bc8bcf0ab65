import Base
import Foundation

/// What a contest came to: one JSON line for a history, a table for the reader.
package struct ContestReport: Encodable {
  /// The median over rounds, and the extremes.
  package struct Spread: Encodable {
    package let median: Double
    package let low: Double
    package let high: Double

    init(_ values: [Double]) {
      (median, low, high) = (Base.median(values), values.min()!, values.max()!)
    }
  }

  package struct Standing: Encodable {
    package let name: String
    package let rate: Spread
    /// To the best ceiling of the same round; nil where there is none.
    package let ratio: Double?
    /// To each ceiling, where there are several.
    package let ratios: [String: Double]?
    /// Over all rounds.
    package let checksum: String
    package let figures: [String: Double]
  }

  package let bench: String
  package let subject: String
  package let unit: String
  package let rounds: Int
  /// Of the ceilings the one with the best median.
  package let ceiling: Standing?
  package let entrants: [Standing]
  /// The least ratio of those that are no ceilings.
  package let ratio: Double?
  /// Over all entrants.
  package let checksum: String
  /// Whether all that must agree do; nil where nobody must.
  package let agrees: Bool?
  /// Of the whole contest.
  package var figures: [String: Double] = [:]
  package let commit: String
  package let date: String
  package let machine: Machine

  init(_ contest: Contest, _ names: [String], _ outcomes: [[Outcome]]) {
    (bench, subject, unit, rounds) = (contest.bench, contest.subject, contest.unit, contest.rounds)
    let ceilings = names.indices.filter { contest.ceilings.contains(names[$0]) }
    let standings = names.indices.map { index in
      Self.standing(
        names[index], outcomes[index], ceilings.map { (names[$0], outcomes[$0]) },
        isCeiling: ceilings.contains(index))
    }
    ceiling = ceilings.map { standings[$0] }.max { $0.rate.median < $1.rate.median }
    entrants = standings
    ratio = standings.filter { !contest.ceilings.contains($0.name) }.compactMap(\.ratio).min()
    checksum = Checksum(outcomes.joined().map(\.checksum.value)).text
    let agreeing = names.indices.filter { contest.agreeing.contains(names[$0]) }
    agrees =
      agreeing.isEmpty
      ? nil : Set(agreeing.map { outcomes[$0].map(\.checksum) }).count == 1
    commit = Provenance.commit
    date = Provenance.date
    machine = .this
  }

  private static func standing(
    _ name: String, _ outcomes: [Outcome], _ ceilings: [(name: String, outcomes: [Outcome])],
    isCeiling: Bool
  ) -> Standing {
    func ratio(_ ceiling: (Int) -> Double) -> Double {
      median(outcomes.indices.map { outcomes[$0].rate / ceiling($0) })
    }
    var ratios: [String: Double] = [:]
    if !isCeiling, ceilings.count > 1 {
      for other in ceilings { ratios[other.name] = ratio { other.outcomes[$0].rate } }
    }
    let best =
      ceilings.isEmpty || isCeiling
      ? nil : ratio { round in ceilings.map { $0.outcomes[round].rate }.max()! }
    let keys = outcomes.reduce(into: Set<String>()) { $0.formUnion($1.figures.keys) }
    var figures: [String: Double] = [:]
    for key in keys { figures[key] = median(outcomes.compactMap { $0.figures[key] }) }
    return Standing(
      name: name, rate: Spread(outcomes.map(\.rate)), ratio: best,
      ratios: ratios.isEmpty ? nil : ratios,
      checksum: Checksum(outcomes.map(\.checksum.value)).text,
      figures: figures)
  }

  package subscript(name: String) -> Standing? { entrants.first { $0.name == name } }
}

// MARK: Printing

extension ContestReport {
  /// The JSON line to stdout, the table to stderr.
  package func print() throws {
    FileHandle.standardError.write(Data(table.utf8))
    try printLine(self)
  }

  private var table: String {
    let width = max(8, entrants.map(\.name.count).max() ?? 0)
    func row(_ cells: [String]) -> String {
      let name = cells[0] + String(repeating: " ", count: max(0, width - cells[0].count))
      let numbers = cells[1...].map { String(repeating: " ", count: max(0, 10 - $0.count)) + $0 }
      return ([name] + numbers).joined(separator: " ") + "\n"
    }
    var text = "\(bench): \(subject); \(unit), \(rounds) rounds, checksum \(checksum)\n"
    text += "vectors: \(machine.vectors)\n"
    text += row(["", "median", "low", "high", "ratio"])
    for entrant in entrants {
      let rates = [entrant.rate.median, entrant.rate.low, entrant.rate.high]
      text += row(
        [entrant.name] + rates.map { fixed($0, $0 < 10 ? 3 : 1) }
          + [entrant.ratio.map { fixed($0, 3) } ?? "-"])
    }
    if let ceiling { text += "ceiling: \(ceiling.name)\n" }
    if agrees == false { text += "checksums differ that must not\n" }
    return text
  }
}

/// Prints one JSON object on one line to stdout, keys in snake case.
package func printLine(_ report: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  encoder.keyEncodingStrategy = .convertToSnakeCase
  encoder.nonConformingFloatEncodingStrategy = .convertToString(
    positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
  FileHandle.standardOutput.write(try encoder.encode(report) + Data("\n".utf8))
}
