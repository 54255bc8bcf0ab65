package import Layers

extension RunConfig {
  /// What `model.kept_experts` says; nil: all experts of all layers.
  /// - Parameters:
  ///   - layers: layers with experts.
  ///   - perToken: experts that a token chooses: no layer may have fewer.
  package func keptExperts(
    layers: Int, experts: Int, perToken: Int
  ) throws(ConfigError) -> [KeptExperts]? {
    let key = "model.kept_experts"
    guard !model.kept_experts.isEmpty else { return nil }
    guard let probabilities = KeptExperts.Probabilities(rawValue: model.kept_probabilities) else {
      preconditionFailure("validated")
    }
    guard model.kept_experts.count == layers else {
      throw ConfigError(
        key: key,
        problem: "has \(model.kept_experts.count) layers, the model \(layers) with experts",
        remedy: "give the experts of each of them, in forward order")
    }
    var kept: [KeptExperts] = []
    for text in model.kept_experts {
      guard let numbers = NumberList.numbers(of: text, below: experts), numbers.count >= perToken
      else {
        throw ConfigError(
          key: key, problem: "`\(text)` is no list of at least \(perToken) of \(experts) experts",
          remedy: "write numbers and ranges in ascending order, such as 0-3,7")
      }
      kept.append(KeptExperts(numbers, of: experts, probabilities))
    }
    return kept
  }
}

extension RunConfig {
  /// Whether both have the same experts, however they are written.
  package func hasSameExperts(as other: RunConfig) -> Bool {
    func numbers(_ config: RunConfig) -> [[Int]?] {
      config.model.kept_experts.map { NumberList.numbers(of: $0, below: .max) }
    }
    return numbers(self) == numbers(other)
      && model.kept_probabilities == other.model.kept_probabilities
  }

  /// For messages.
  var expertsText: String {
    guard !model.kept_experts.isEmpty else { return "all experts" }
    return "the experts \(model.kept_experts.joined(separator: " ")) with probabilities of "
      + model.kept_probabilities
  }
}

/// Numbers as people write them: `0-3,7`.
package enum NumberList {
  /// nil when `text` is not ascending numbers and ranges of them below `count`.
  package static func numbers(of text: String, below count: Int) -> [Int]? {
    var numbers: [Int] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1],
        first > numbers.last ?? -1, first <= last, last < count
      else { return nil }
      numbers += first...last
    }
    return numbers
  }

  /// Of ascending numbers.
  package static func text(of numbers: [Int]) -> String {
    var ranges: [ClosedRange<Int>] = []
    for number in numbers {
      if let last = ranges.last, last.upperBound + 1 == number {
        ranges[ranges.count - 1] = last.lowerBound...number
      } else {
        ranges.append(number...number)
      }
    }
    return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
      .joined(separator: ",")
  }
}
