import Foundation

/// Corpus-level BLEU as sacreBLEU computes it (Post, "A call for clarity in reporting BLEU scores",
/// 2018): n-grams up to 4, exponential smoothing, closest reference length.
package struct BLEU: Sendable {
  package enum Tokenization: String, Sendable {
    /// The tokenisation of mteval-v13a, for languages that put spaces between words.
    case mteval13a = "13a"
    /// Every character is a token, for Japanese, Chinese and the like.
    case character = "char"
    /// White space alone.
    case none
  }

  package struct Score: Equatable, Sendable {
    /// 0 to 100.
    package let score: Double
    /// Percent, for n-grams of 1 to 4.
    package let precisions: [Double]
    package let matches: [Int]
    package let totals: [Int]
    package let brevityPenalty: Double
    package let hypothesisTokens: Int
    package let referenceTokens: Int
  }

  private static let orderMax = 4
  package let tokenization: Tokenization

  package init(tokenization: Tokenization = .mteval13a) { self.tokenization = tokenization }

  /// As is usual for text in the language with the tag `tag`: characters where no spaces separate
  /// words.
  package init(forLanguage tag: String) {
    let language = String(tag.prefix { $0 != "_" })
    // By the codes of two letters and, as NLLB has them, of three.
    let unspaced = [
      "zh", "ja", "th", "km", "lo", "my", "yue", "wuu", "zho", "jpn", "tha", "khm", "lao", "mya",
    ]
    self.init(tokenization: unspaced.contains(language) ? .character : .mteval13a)
  }

  /// How the score was made, in sacreBLEU's notation.
  package func signature(references: Int = 1) -> String {
    "nrefs:\(references)|case:mixed|eff:no|tok:\(tokenization.rawValue)|smooth:exp|impl:pagoda"
  }

  /// Scores hypothesis i against `references[r][i]`, for every set r of references.
  package func score(_ hypotheses: [String], references: [[String]]) -> Score {
    precondition(!references.isEmpty, "at least one set of references")
    precondition(
      references.allSatisfy { $0.count == hypotheses.count }, "a reference for every hypothesis")
    var matches = [Int](repeating: 0, count: Self.orderMax)
    var totals = matches
    var (hypothesisTokens, referenceTokens) = (0, 0)
    for (i, hypothesis) in hypotheses.enumerated() {
      let tokens = tokens(hypothesis)
      let candidates = references.map { self.tokens($0[i]) }
      hypothesisTokens += tokens.count
      referenceTokens += Self.closestLength(candidates.map(\.count), to: tokens.count)
      for order in 1...Self.orderMax {
        let counts = nGrams(tokens, order)
        let allowed = candidates.map { nGrams($0, order) }.reduce(into: [:]) { all, one in
          all.merge(one, uniquingKeysWith: max)
        }
        totals[order - 1] += max(tokens.count - order + 1, 0)
        for (nGram, count) in counts { matches[order - 1] += min(count, allowed[nGram] ?? 0) }
      }
    }
    return Self.score(matches, totals, hypothesisTokens, referenceTokens)
  }

  /// The score of the counts. Smoothing: the k-th order without a match counts as 1 / 2^k matches.
  private static func score(
    _ matches: [Int], _ totals: [Int], _ hypothesisTokens: Int, _ referenceTokens: Int
  ) -> Score {
    let brevityPenalty =
      hypothesisTokens >= referenceTokens
      ? 1
      : hypothesisTokens > 0
        ? exp(1 - Double(referenceTokens) / Double(hypothesisTokens)) : 0
    var precisions = [Double](repeating: 0, count: orderMax)
    if matches.contains(where: { $0 > 0 }) {
      var smoothing = 1.0
      for order in 0..<orderMax where totals[order] > 0 {
        if matches[order] == 0 { smoothing *= 2 }
        let matched = matches[order] == 0 ? 1 / smoothing : Double(matches[order])
        precisions[order] = 100 * matched / Double(totals[order])
      }
    }
    // A logarithm of zero stands for an order that no sentence is long enough for: the score is 0.
    let mean =
      precisions.contains(0)
      ? 0 : exp(precisions.map { log($0) }.reduce(0, +) / Double(orderMax))
    return Score(
      score: brevityPenalty * mean, precisions: precisions, matches: matches, totals: totals,
      brevityPenalty: brevityPenalty, hypothesisTokens: hypothesisTokens,
      referenceTokens: referenceTokens)
  }

  /// The length nearest to `length`; the shorter one of two equally near.
  private static func closestLength(_ lengths: [Int], to length: Int) -> Int {
    lengths.min { (abs($0 - length), $0) < (abs($1 - length), $1) } ?? 0
  }

  private func tokens(_ line: String) -> [String] {
    switch tokenization {
    case .mteval13a: Mteval13a.tokens(line)
    case .character:
      line.unicodeScalars.filter { !$0.properties.isWhitespace }.map { String($0) }
    case .none: words(line)
    }
  }
}

/// The words of a line, between white space of any kind.
func words(_ line: String) -> [String] {
  line.unicodeScalars.split(whereSeparator: \.properties.isWhitespace).map { String($0) }
}

/// How often each run of `order` neighbours occurs.
func nGrams<Token: Hashable>(_ tokens: [Token], _ order: Int) -> [ArraySlice<Token>: Int] {
  var counts: [ArraySlice<Token>: Int] = [:]
  guard tokens.count >= order else { return counts }
  for start in 0...(tokens.count - order) {
    counts[tokens[start..<start + order], default: 0] += 1
  }
  return counts
}
