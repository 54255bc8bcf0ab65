/// Corpus-level chrF (Popović, "chrF: character n-gram F-score", 2015) as sacreBLEU computes it:
/// n-grams of up to 6 characters without white space, recall weighted twice (chrF2), optionally
/// with n-grams of words (chrF++ has 2).
package struct ChrF: Sendable {
  private static let characterOrder = 6
  private static let beta = 2.0
  package let wordOrder: Int

  package static let chrF2 = ChrF(wordOrder: 0)
  package static let chrFPlusPlus = ChrF(wordOrder: 2)

  private init(wordOrder: Int) { self.wordOrder = wordOrder }

  /// How the score was made, in sacreBLEU's notation.
  package func signature(references: Int = 1) -> String {
    "nrefs:\(references)|case:mixed|eff:yes|nc:6|nw:\(wordOrder)|space:no|impl:pagoda"
  }

  /// Scores hypothesis i against the best of `references[r][i]`; 0 to 100.
  package func score(_ hypotheses: [String], references: [[String]]) -> Double {
    precondition(!references.isEmpty, "at least one set of references")
    precondition(
      references.allSatisfy { $0.count == hypotheses.count }, "a reference for every hypothesis")
    var total = [Counts](repeating: Counts(), count: Self.characterOrder + wordOrder)
    for (i, hypothesis) in hypotheses.enumerated() {
      let candidate = Grams(hypothesis, wordOrder: wordOrder)
      var best: (score: Double, counts: [Counts])?
      for set in references {
        let counts = candidate.counts(against: Grams(set[i], wordOrder: wordOrder))
        let score = Self.fScore(counts)
        if best.map({ score > $0.score }) ?? true { best = (score, counts) }
      }
      for (order, counts) in (best?.counts ?? []).enumerated() { total[order].add(counts) }
    }
    return Self.fScore(total)
  }

  /// Precision and recall are averaged over the orders that occur on both sides, then combined.
  private static func fScore(_ counts: [Counts]) -> Double {
    let used = counts.filter { $0.hypothesis > 0 && $0.reference > 0 }
    guard !used.isEmpty else { return 0 }
    let orders = Double(used.count)
    let precision =
      used.reduce(0) { $0 + Double($1.matches) / Double($1.hypothesis) } / orders
    let recall = used.reduce(0) { $0 + Double($1.matches) / Double($1.reference) } / orders
    guard precision + recall > 0 else { return 0 }
    let weight = beta * beta
    return 100 * (1 + weight) * precision * recall / (weight * precision + recall)
  }

  /// N-grams of one order in a hypothesis, in its reference, and in both.
  private struct Counts {
    var hypothesis = 0
    var reference = 0
    var matches = 0

    mutating func add(_ other: Counts) {
      hypothesis += other.hypothesis
      reference += other.reference
      matches += other.matches
    }
  }

  /// The n-grams of one line, characters first, then words.
  private struct Grams {
    let characters: [[ArraySlice<Unicode.Scalar>: Int]]
    let words: [[ArraySlice<String>: Int]]

    init(_ line: String, wordOrder: Int) {
      let scalars = line.unicodeScalars.filter { !$0.properties.isWhitespace }
      characters = (1...characterOrder).map { nGrams(Array(scalars), $0) }
      let separated = wordOrder > 0 ? Corpus.words(line).flatMap(withoutPunctuation) : []
      words = (0..<wordOrder).map { nGrams(separated, $0 + 1) }
    }

    func counts(against reference: Grams) -> [Counts] {
      zip(characters, reference.characters).map(match) + zip(words, reference.words).map(match)
    }
  }

  private static func match<Gram: Hashable>(
    _ hypothesis: [Gram: Int], _ reference: [Gram: Int]
  ) -> Counts {
    let matches = hypothesis.reduce(0) { $0 + min($1.value, reference[$1.key] ?? 0) }
    let total = reference.values.reduce(0, +)
    // An order that the reference is too short for says nothing about the hypothesis.
    return Counts(
      hypothesis: total > 0 ? hypothesis.values.reduce(0, +) : 0, reference: total,
      matches: matches)
  }

  /// A word and the one ASCII punctuation mark at its end or, failing that, at its start.
  private static func withoutPunctuation(_ word: String) -> [String] {
    let scalars = Array(word.unicodeScalars)
    guard scalars.count > 1, let first = scalars.first, let last = scalars.last else {
      return [word]
    }
    func text(_ part: ArraySlice<Unicode.Scalar>) -> String {
      String(String.UnicodeScalarView(part))
    }
    if isPunctuation(last) { return [text(scalars.dropLast()), String(last)] }
    if isPunctuation(first) { return [String(first), text(scalars.dropFirst())] }
    return [word]
  }

  private static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "!"..."/", ":"..."@", "["..."`", "{"..."~": true
    default: false
    }
  }
}
