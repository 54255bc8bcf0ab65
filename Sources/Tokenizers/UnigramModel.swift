/// The unigram model: of all ways to cut a word, the one whose tokens have the greatest sum of
/// log-probabilities.
struct UnigramModel: Sendable {
  let vocabulary: Vocabulary
  private let scores: [Double]
  private let trie: PieceTrie
  private let unknown: Int32?
  private let unknownScore: Double
  /// Of each byte its token `<0xXX>`; nil unless they stand for unknown characters.
  private let bytes: [Int32?]?

  /// How much less likely an unknown character is than the least likely token.
  private static let unknownPenalty = 10.0

  init(_ field: JSONField) throws(TokenizerError) {
    guard case .array(let values) = field["vocab"].value, !values.isEmpty else {
      throw field["vocab"].malformed("no array of tokens")
    }
    var vocabulary = Vocabulary()
    vocabulary.reserve(values.count)
    var scores: [Double] = []
    for (id, value) in values.enumerated() {
      guard case .array(let pair) = value, pair.count == 2, case .string(let text) = pair[0],
        let score = Self.score(pair[1])
      else { throw field["vocab"].malformed("token \(id) is no pair of a text and a number") }
      if let defect = vocabulary.add(text, id: Int32(id)) {
        throw field["vocab"].malformed(defect)
      }
      scores.append(score)
    }
    unknown =
      field["unk_id"].isPresent
      ? Int32(try field["unk_id"].integer(in: 0...(values.count - 1))) : nil
    bytes = try field["byte_fallback"].bool(default: false) ? vocabulary.byteTokens : nil
    trie = PieceTrie(
      vocabulary.entries.filter { !$0.text.isEmpty }.map { (Array($0.text.utf8), $0.id) })
    unknownScore = scores.reduce(.infinity, min) - Self.unknownPenalty
    self.vocabulary = vocabulary
    self.scores = scores
  }

  private static func score(_ value: JSONValue) -> Double? {
    switch value {
    case .integer(let number): Double(number)
    case .number(let number): number
    default: nil
    }
  }

  /// The best way to reach each byte of a word.
  struct Lattice: Sendable {
    fileprivate var scores: [Double] = []
    fileprivate var starts: [Int32] = []
    fileprivate var ids: [Int32] = []

    fileprivate mutating func reset(_ count: Int) {
      scores.removeAll(keepingCapacity: true)
      starts.removeAll(keepingCapacity: true)
      ids.removeAll(keepingCapacity: true)
      scores.append(contentsOf: repeatElement(0, count: count))
      starts.append(contentsOf: repeatElement(-1, count: count))
      ids.append(contentsOf: repeatElement(-1, count: count))
    }

    /// Takes the token from `start` to `end` if no better one ends there.
    fileprivate mutating func offer(_ id: Int32, from start: Int, to end: Int, score: Double) {
      let total = scores[start] + score
      guard starts[end] < 0 || total > scores[end] else { return }
      (scores[end], starts[end], ids[end]) = (total, Int32(start), id)
    }
  }

  /// Appends the tokens of `word`, which is UTF-8.
  func encode(
    _ word: [UInt8], into ids: inout [Int32], _ lattice: inout Lattice
  ) throws(TokenizerError) {
    fill(&lattice, word)
    var cuts: [(range: Range<Int>, id: Int32)] = []
    var end = word.count
    while end > 0 {
      let start = Int(lattice.starts[end])
      let id = lattice.ids[end] == unknown ? Self.unknownCharacter : lattice.ids[end]
      if id == Self.unknownCharacter, let last = cuts.last, last.id == id {
        // Unknown neighbours are one token.
        cuts[cuts.count - 1].range = start..<last.range.upperBound
      } else {
        cuts.append((start..<end, id))
      }
      end = start
    }
    for cut in cuts.reversed() {
      if cut.id == Self.unknownCharacter {
        try append(unknown: word[cut.range], to: &ids)
      } else {
        ids.append(cut.id)
      }
    }
  }

  /// In the lattice, a character that no token covers.
  private static let unknownCharacter: Int32 = -2

  private func fill(_ lattice: inout Lattice, _ word: [UInt8]) {
    lattice.reset(word.count + 1)
    var start = 0
    while start < word.count {
      let width = word.characterWidth(at: start)
      var coversCharacter = false
      trie.prefixes(of: word, from: start, to: word.count) { end, id in
        lattice.offer(id, from: start, to: end, score: scores[Int(id)])
        if end == start + width { coversCharacter = true }
      }
      if !coversCharacter {
        lattice.offer(Self.unknownCharacter, from: start, to: start + width, score: unknownScore)
      }
      start += width
    }
  }

  private func append(
    unknown text: ArraySlice<UInt8>, to ids: inout [Int32]
  ) throws(TokenizerError) {
    if let id = vocabulary.id(text) {
      ids.append(id)
    } else if let bytes, text.allSatisfy({ bytes[Int($0)] != nil }) {
      for byte in text { if let id = bytes[Int(byte)] { ids.append(id) } }
    } else if let unknown {
      ids.append(unknown)
    } else {
      throw .unencodable(
        cause: "the vocabulary has no token for `\(String(decoding: text, as: UTF8.self))`, "
          + "and none for unknown text")
    }
  }
}

extension [UInt8] {
  /// Bytes of the UTF-8 character at `index`.
  func characterWidth(at index: Int) -> Int {
    let width =
      switch self[index] {
      case ..<0x80: 1
      case ..<0xE0: 2
      case ..<0xF0: 3
      default: 4
      }
    return Swift.min(width, count - index)
  }
}
