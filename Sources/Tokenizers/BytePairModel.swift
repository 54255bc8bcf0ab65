/// Byte-pair encoding: a word is cut into characters, and neighbours are merged in the order in
/// which the pairs were learnt.
struct BytePairModel: Sendable {
  let vocabulary: Vocabulary
  /// Pair of ids -> rank in the upper half, id of the merged token in the lower.
  private let merges: [UInt64: UInt64]
  private let characters: [Unicode.Scalar: Int32]
  /// Of each byte its token `<0xXX>`; nil unless they stand for unknown characters.
  private let bytes: [Int32?]?
  private let unknown: Int32?
  private let fusesUnknown: Bool
  private let ignoresMerges: Bool

  init(_ field: JSONField) throws(TokenizerError) {
    try Self.refuseUnsupported(field)
    let vocabulary = try Self.vocabulary(field["vocab"])
    self.vocabulary = vocabulary
    merges = try Self.merges(field["merges"], vocabulary)
    characters = Dictionary(
      uniqueKeysWithValues: vocabulary.entries.compactMap { text, id in
        let scalars = text.unicodeScalars
        return scalars.count == 1 ? scalars.first.map { ($0, id) } : nil
      })
    bytes = try field["byte_fallback"].bool(default: false) ? vocabulary.byteTokens : nil
    fusesUnknown = try field["fuse_unk"].bool(default: false)
    ignoresMerges = try field["ignore_merges"].bool(default: false)
    if let token = try field["unk_token"].optionalString() {
      guard let id = vocabulary.id(token) else {
        throw field["unk_token"].malformed("`\(token)` is not in the vocabulary")
      }
      unknown = id
    } else {
      unknown = nil
    }
  }

  private static func refuseUnsupported(_ field: JSONField) throws(TokenizerError) {
    for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let text = try field[name].optionalString(), !text.isEmpty {
        throw field[name].unsupported("`\(text)`", known: ["none"])
      }
    }
    switch field["dropout"].value {
    case nil, .integer(0), .number(0): break
    default: throw field["dropout"].unsupported("dropout of merges", known: ["none"])
    }
  }

  private static func vocabulary(_ field: JSONField) throws(TokenizerError) -> Vocabulary {
    guard case .object(let members) = field.value else { throw field.malformed("no object") }
    var vocabulary = Vocabulary()
    vocabulary.reserve(members.count)
    for (text, value) in members {
      guard case .integer(let id) = value, (0...Vocabulary.idMax).contains(id) else {
        throw field.malformed("the id of `\(text)` is none from 0 to \(Vocabulary.idMax)")
      }
      if let defect = vocabulary.add(text, id: Int32(id)) { throw field.malformed(defect) }
    }
    return vocabulary
  }

  private static func merges(
    _ field: JSONField, _ vocabulary: Vocabulary
  ) throws(TokenizerError) -> [UInt64: UInt64] {
    guard case .array(let values) = field.value else { throw field.malformed("no array") }
    var merges: [UInt64: UInt64] = [:]
    merges.reserveCapacity(values.count)
    for (rank, value) in values.enumerated() {
      func defect(_ cause: String) -> TokenizerError {
        .malformed(path: field.path, place: "\(field.place)[\(rank)]", cause: cause)
      }
      guard let (left, right) = pair(value), !left.isEmpty, !right.isEmpty else {
        throw defect("no pair of two tokens")
      }
      guard let leftID = vocabulary.id(left), let rightID = vocabulary.id(right),
        let merged = vocabulary.id(left + right)
      else {
        throw defect("`\(left)`, `\(right)` or both in one are not in the vocabulary")
      }
      merges[Self.key(leftID, rightID)] = UInt64(rank) << 32 | UInt64(merged)
    }
    return merges
  }

  /// Both forms of a merge: two strings, and one with a space between.
  private static func pair(_ value: JSONValue) -> (String, String)? {
    switch value {
    case .array(let parts):
      guard parts.count == 2, case .string(let left) = parts[0], case .string(let right) = parts[1]
      else { return nil }
      return (left, right)
    case .string(let text):
      // By scalars: a mark after the space makes one character of both.
      let parts = text.unicodeScalars.split(separator: " ", omittingEmptySubsequences: false)
      return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
    default: return nil
    }
  }

  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  // MARK: Encoding

  /// Appends the tokens of `word`, which is UTF-8. Takes n log n steps for n characters.
  func encode(_ word: ArraySlice<UInt8>, into ids: inout [Int32], _ chain: inout MergeChain) {
    if ignoresMerges, let id = vocabulary.id(word) {
      ids.append(id)
      return
    }
    chain.removeAll()
    appendCharacters(of: word, to: &chain)
    for index in 0..<max(chain.count - 1, 0) { propose(index, in: &chain) }
    while let (rank, index) = chain.next() {
      // The pair may have been merged into another since.
      guard let pair = chain.pair(at: index), let merge = merges[Self.key(pair.left, pair.right)],
        merge >> 32 == rank
      else { continue }
      chain.merge(at: index, into: Int32(truncatingIfNeeded: merge & 0xFFFF_FFFF))
      propose(index, in: &chain)
      if let previous = chain.previous(index) { propose(previous, in: &chain) }
    }
    chain.append(to: &ids)
  }

  private func propose(_ index: Int, in chain: inout MergeChain) {
    guard let pair = chain.pair(at: index), let merge = merges[Self.key(pair.left, pair.right)]
    else { return }
    chain.propose(rank: merge >> 32, index: index)
  }

  private func appendCharacters(of word: ArraySlice<UInt8>, to chain: inout MergeChain) {
    // An unknown character waits for its neighbours: they may become one token.
    var hasUnknown = false
    for scalar in word.scalars {
      if let id = characters[scalar] {
        if hasUnknown, let unknown { chain.append(unknown) }
        hasUnknown = false
        chain.append(id)
      } else if let tokens = byteTokens(scalar) {
        for token in tokens { chain.append(token) }
      } else if let unknown {
        if hasUnknown, !fusesUnknown { chain.append(unknown) }
        hasUnknown = true
      }
    }
    if hasUnknown, let unknown { chain.append(unknown) }
  }

  private func byteTokens(_ scalar: Unicode.Scalar) -> [Int32]? {
    guard let bytes else { return nil }
    var tokens: [Int32] = []
    for byte in UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter {
      guard let token = bytes[Int(byte)] else { return nil }
      tokens.append(token)
    }
    return tokens
  }
}

extension Vocabulary {
  /// Of each byte the token `<0xXX>`.
  var byteTokens: [Int32?] {
    (0...UInt8.max).map { byte in
      let digits = String(byte, radix: 16, uppercase: true)
      return id("<0x\(digits.count == 1 ? "0" : "")\(digits)>")
    }
  }
}
