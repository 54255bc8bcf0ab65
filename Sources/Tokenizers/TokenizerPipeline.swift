import Synchronization

/// The tokenizer that a `tokenizer.json` describes: text is searched for added tokens, normalised,
/// cut into words, and each word into tokens of the model; decoding goes back by steps of its own.
///
/// Its members `truncation` and `padding` describe batches and are left to those who make them.
final class TokenizerPipeline: Sendable {
  private enum Model: Sendable {
    case bytePair(BytePairModel)
    case unigram(UnigramModel)

    static let known = ["BPE", "Unigram"]

    init(_ field: JSONField) throws(TokenizerError) {
      // Files of early versions name no type.
      switch try field["type"].optionalString() {
      case "BPE": self = .bytePair(try BytePairModel(field))
      case "Unigram": self = .unigram(try UnigramModel(field))
      case nil where field["merges"].isPresent: self = .bytePair(try BytePairModel(field))
      case nil where field["unk_id"].isPresent: self = .unigram(try UnigramModel(field))
      case let type:
        throw field.unsupported("the model \(type ?? "without type")", known: Self.known)
      }
    }

    var vocabulary: Vocabulary {
      switch self {
      case .bytePair(let model): model.vocabulary
      case .unigram(let model): model.vocabulary
      }
    }
  }

  /// What an encoding works with; kept for the next one.
  private struct Workspace: Sendable {
    var cache = WordCache()
    var chain = MergeChain()
    var lattice = UnigramModel.Lattice()
  }

  private let model: Model
  private let normalizers: [Normalizer]
  private let preTokenizers: [PreTokenizer]
  private let templates: [TokenTemplate]
  private let decoders: [TokenDecoder]?
  private let added: AddedTokens
  /// Model and added tokens.
  private let vocabulary: Vocabulary
  private let special: Set<Int32>
  /// Whether the model gets bytes for characters. Words are remembered as they are in the text.
  private let endsInByteLevel: Bool
  private let workspace = Mutex<Workspace?>(nil)

  /// Longest text that is encoded at once, in bytes.
  static let textByteCountMax = Int(Int32.max) / 2

  convenience init(path: String) throws(TokenizerError) {
    try self.init(JSONField.read(path: path))
  }

  init(_ file: JSONField) throws(TokenizerError) {
    let model = try Model(file["model"])
    let normalizers = try Normalizer.steps(file["normalizer"])
    let tokens = try AddedTokens.read(file["added_tokens"])
    let vocabulary = try Self.vocabulary(model.vocabulary, tokens, file["added_tokens"])
    preTokenizers = try PreTokenizer.steps(file["pre_tokenizer"])
    templates = try TokenTemplate.steps(file["post_processor"]) { vocabulary.text($0) != nil }
    decoders = try TokenDecoder.steps(file["decoder"])
    added = try AddedTokens(tokens) { bytes throws(TokenizerError) in
      try Self.normalize(bytes, normalizers)
    }
    special = Set(tokens.filter(\.isSpecial).map(\.id))
    if case .byteLevel = preTokenizers.last {
      endsInByteLevel = true
    } else {
      endsInByteLevel = false
    }
    (self.model, self.normalizers, self.vocabulary) = (model, normalizers, vocabulary)
  }

  /// With the added tokens: each has an id of its own, or is one of the model's.
  private static func vocabulary(
    _ vocabulary: Vocabulary, _ tokens: [AddedTokens.Token], _ field: JSONField
  ) throws(TokenizerError) -> Vocabulary {
    var vocabulary = vocabulary
    var seen: Set<Int32> = []
    for token in tokens {
      guard seen.insert(token.id).inserted else {
        throw field.malformed("the id \(token.id) occurs twice")
      }
      if vocabulary.id(token.text) == token.id { continue }
      if let defect = vocabulary.add(token.text, id: token.id) { throw field.malformed(defect) }
    }
    return vocabulary
  }

  var vocabularySize: Int { vocabulary.count }

  func id(of token: String) -> Int32? { vocabulary.id(token) }

  func token(of id: Int32) -> String? { vocabulary.text(id) }

  // MARK: Encoding

  func encode(_ text: String, addSpecialTokens: Bool) throws(TokenizerError) -> [Int32] {
    let bytes = Array(text.utf8)
    guard bytes.count <= Self.textByteCountMax else {
      throw .unencodable(cause: "\(bytes.count) bytes at once, above \(Self.textByteCountMax)")
    }
    // Another thread at the same time begins with an empty one, and the last one stays.
    var work =
      workspace.withLock { shared in
        defer { shared = nil }
        return shared
      } ?? Workspace()
    var ids: [Int32] = []
    ids.reserveCapacity(bytes.count / 3 + 8)
    for segment in added.segments(of: bytes) {
      if let id = segment.id {
        ids.append(id)
      } else {
        let normalized = try Self.normalize(Array(bytes[segment.range]), normalizers)
        try encode(normalized, isStart: segment.range.lowerBound == 0, into: &ids, &work)
      }
    }
    let kept = work
    workspace.withLock { $0 = kept }
    return addSpecialTokens ? templates.reduce(ids) { $1($0) } : ids
  }

  /// Encodes a normalised text.
  private func encode(
    _ bytes: [UInt8], isStart: Bool, into ids: inout [Int32], _ work: inout Workspace
  ) throws(TokenizerError) {
    for segment in added.segments(ofNormalized: bytes) {
      if let id = segment.id {
        ids.append(id)
        continue
      }
      var pieces = TextPieces(
        Array(bytes[segment.range]), isStart: isStart && segment.range.lowerBound == 0)
      for (index, step) in preTokenizers.enumerated() {
        step.apply(to: &pieces, writesBytes: index < preTokenizers.count - 1)
      }
      for range in pieces.ranges { try encode(word: pieces.bytes[range], into: &ids, &work) }
    }
  }

  private func encode(
    word: ArraySlice<UInt8>, into ids: inout [Int32], _ work: inout Workspace
  ) throws(TokenizerError) {
    guard word.count <= WordCache.wordByteCountMax else {
      return try encode(unknownWord: word, into: &ids, &work)
    }
    let hash = WordCache.hash(word)
    if work.cache.find(word, hash: hash, into: &ids) { return }
    let start = ids.count
    try encode(unknownWord: word, into: &ids, &work)
    work.cache.insert(word, hash: hash, ids: ids[start...])
  }

  private func encode(
    unknownWord word: ArraySlice<UInt8>, into ids: inout [Int32], _ work: inout Workspace
  ) throws(TokenizerError) {
    let word = endsInByteLevel ? word.flatMap { ByteLevel.characters[Int($0)] } : Array(word)
    switch model {
    case .bytePair(let model): model.encode(word[...], into: &ids, &work.chain)
    case .unigram(let model): try model.encode(word, into: &ids, &work.lattice)
    }
  }

  private static func normalize(
    _ bytes: [UInt8], _ normalizers: [Normalizer]
  ) throws(TokenizerError) -> [UInt8] {
    var normalized = bytes
    let limit = 16 * bytes.count + 4096
    for normalizer in normalizers {
      normalized = normalizer(normalized)
      guard normalized.count <= limit else {
        throw .unencodable(
          cause: "normalised, \(bytes.count) bytes become \(normalized.count), above \(limit)")
      }
    }
    return normalized
  }

  // MARK: Decoding

  /// - Parameter ids: those that are no token's are left out.
  func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    let shown = skipSpecialTokens ? ids.filter { !special.contains($0) } : ids
    let tokens = shown.compactMap { vocabulary.text($0) }
    guard let decoders else { return tokens.joined(separator: " ") }
    return decoders.reduce(tokens) { $1($0) }.joined()
  }
}
