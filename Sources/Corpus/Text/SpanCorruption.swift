/// Plain text for an encoder and a decoder: spans of the text are each replaced by a sentinel, and
/// the decoder is to say what they were (Raffel et al., "Exploring the limits of transfer
/// learning", 2020, section 3.1.4).
///
///     text      a b c d e f g h i
///     source    a b <X> f g h <Y> </s>
///     labels    <X> c d e <Y> i </s>
///
/// Kept and replaced spans alternate, a kept one first. Their numbers and so the lengths of both
/// sides follow from the length of the text alone; where they are is drawn.
struct SpanCorruption: Sendable {
  /// Share of the tokens that spans cover.
  static let maskRate = 0.15
  /// Tokens of a span, on average.
  static let spanTokensMean = 3.0

  private let sentinels: [Int32]
  private let end: Int32

  init(sentinels: [Int32], end: Int32) {
    precondition(!sentinels.isEmpty, "a span has a sentinel")
    (self.sentinels, self.end) = (sentinels, end)
  }

  /// How many of `count` tokens are replaced, in how many spans.
  private static func replaced(_ count: Int) -> (tokens: Int, spans: Int) {
    precondition(count >= 2, "a text to keep some of and to replace some")
    let tokens = min(max(Int((Double(count) * maskRate).rounded()), 1), count - 1)
    let spans = max(Int((Double(tokens) / spanTokensMean).rounded()), 1)
    return (tokens, min(spans, tokens, count - tokens))
  }

  /// Tokens of both sides for a text of `count`.
  static func sizes(_ count: Int) -> (source: Int, target: Int) {
    let (tokens, spans) = replaced(count)
    return (count - tokens + spans + 1, tokens + spans + 1)
  }

  /// The longest text that gives no longer sequences and has a sentinel for each span.
  func textTokensMax(maxSequenceTokens: Int) -> Int {
    var count = 2
    while true {
      let (source, target) = Self.sizes(count + 1)
      guard max(source, target) <= maxSequenceTokens,
        Self.replaced(count + 1).spans <= sentinels.count
      else { return count }
      count += 1
    }
  }

  func corrupted(
    _ text: ArraySlice<Int32>, _ draws: inout DenoisingNoise.Draws
  ) -> (source: [Int32], labels: [Int32]) {
    let (tokens, spans) = Self.replaced(text.count)
    let kept = DenoisingNoise.composition(of: text.count - tokens, parts: spans, &draws)
    let replaced = DenoisingNoise.composition(of: tokens, parts: spans, &draws)
    var (source, labels) = ([Int32](), [Int32]())
    var place = text.startIndex
    for span in 0..<spans {
      source += text[place..<place + kept[span]]
      place += kept[span]
      source.append(sentinels[span])
      labels.append(sentinels[span])
      labels += text[place..<place + replaced[span]]
      place += replaced[span]
    }
    return (source + [end], labels + [end])
  }
}
