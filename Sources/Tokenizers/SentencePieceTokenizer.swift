import CSentencePiece

/// A SentencePiece model with the ids, the added tokens and the special tokens of a checkpoint.
struct SentencePieceTokenizer: Sendable {
  private let model: SentencePieceModel
  private let layout: SentencePieceLayout
  private let added: AddedTokens
  private let vocabulary: Vocabulary
  private let special: Set<Int32>
  private let addedIDs: Set<Int32>
  /// Put before and after each text.
  private let prefix: [Int32]
  private let suffix: [Int32]

  /// Most `<extra_id_…>` or languages that a layout may add.
  static let addedCountMax = 4096

  /// - Parameter added: all tokens that are found in text before the model's own, as a checkpoint
  ///   lists them; without a list, those of the layout and the control pieces of the model.
  init(
    path: String, layout: SentencePieceLayout, added: [AddedTokens.Token]? = nil
  ) throws(TokenizerError) {
    let model = try SentencePieceModel(path: path)
    if case .fairseq = layout { try Self.checkFairseq(model, path) }
    var vocabulary = Vocabulary()
    vocabulary.reserve(model.count)
    func add(_ text: String, _ id: Int32) throws(TokenizerError) {
      if let defect = vocabulary.add(text, id: id) {
        throw .malformed(path: path, place: "id \(id)", cause: defect)
      }
    }
    for piece in 0..<Int32(model.count) {
      try add(model.piece(piece), layout.id(ofPiece: piece))
    }
    let tokens = added ?? layout.addedTokens(pieceCount: model.count) + model.specials(layout)
    for token in tokens where vocabulary.id(token.text) != token.id {
      try add(token.text, token.id)
    }
    (prefix, suffix) = try Self.frame(layout, vocabulary, path)
    (self.model, self.layout, self.vocabulary) = (model, layout, vocabulary)
    self.added = try AddedTokens(tokens) { $0 }
    special = Set(tokens.filter(\.isSpecial).map(\.id))
    addedIDs = Set(tokens.map(\.id))
  }

  /// Pieces 0 to 2 must be those that fairseq has at other places.
  private static func checkFairseq(
    _ model: SentencePieceModel, _ path: String
  ) throws(TokenizerError) {
    let names = ["<unk>", "<s>", "</s>"]
    guard model.count >= names.count,
      (0..<3).allSatisfy({ model.piece(Int32($0)) == names[$0] })
    else {
      throw .malformed(
        path: path, place: "piece 0", cause: "not begun by \(names.joined(separator: ", "))")
    }
  }

  private static func frame(
    _ layout: SentencePieceLayout, _ vocabulary: Vocabulary, _ path: String
  ) throws(TokenizerError) -> (prefix: [Int32], suffix: [Int32]) {
    func token(_ text: String) throws(TokenizerError) -> [Int32] {
      guard let id = vocabulary.id(text) else {
        throw .malformed(path: path, place: "the vocabulary", cause: "no token `\(text)`")
      }
      return [id]
    }
    switch layout {
    case .plain(let addsStart, let addsEnd):
      return (addsStart ? try token("<s>") : [], addsEnd ? try token("</s>") : [])
    case .t5: return ([], try token("</s>"))
    case .fairseq(_, let source): return (try token(source), try token("</s>"))
    }
  }

  var vocabularySize: Int { vocabulary.count }

  func id(of token: String) -> Int32? { vocabulary.id(token) }

  func token(of id: Int32) -> String? { vocabulary.text(id) }

  func encode(_ text: String, addSpecialTokens: Bool) throws(TokenizerError) -> [Int32] {
    let bytes = Array(text.utf8)
    guard bytes.count <= TokenizerPipeline.textByteCountMax else {
      throw .unencodable(
        cause: "\(bytes.count) bytes at once, above \(TokenizerPipeline.textByteCountMax)")
    }
    var ids = addSpecialTokens ? prefix : []
    for segment in added.segments(of: bytes) {
      if let id = segment.id {
        ids.append(id)
      } else {
        let text = String(decoding: bytes[segment.range], as: UTF8.self)
        ids += try model.encode(text).map(layout.id(ofPiece:))
      }
    }
    return addSpecialTokens ? ids + suffix : ids
  }

  /// The pieces between added tokens as SentencePiece decodes them; added tokens by their text,
  /// with a space on each side.
  /// - Parameter ids: those that are no token's are left out.
  func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    var parts: [String] = []
    var pieces: [Int32] = []
    func flush() {
      if !pieces.isEmpty { parts.append(model.decode(pieces)) }
      pieces.removeAll()
    }
    for id in ids where !skipSpecialTokens || !special.contains(id) {
      if addedIDs.contains(id) {
        flush()
        parts.append(vocabulary.text(id) ?? "")
      } else if let piece = layout.piece(ofID: id, count: model.count) {
        pieces.append(piece)
      }
    }
    flush()
    let text = Array(parts.joined(separator: " ").utf8)
    if case .plain = layout { return String(decoding: text, as: UTF8.self) }
    return String(decoding: text[...].stripped(left: true, right: true), as: UTF8.self)
  }
}

extension SentencePieceModel {
  /// Its pieces for the unknown and for control. SentencePiece takes their text for text; the
  /// tokenizers of the checkpoints do not.
  fileprivate func specials(_ layout: SentencePieceLayout) -> [AddedTokens.Token] {
    (0..<Int32(count)).compactMap { piece in
      let text = self.piece(piece)
      guard [cspm_piece_control, cspm_piece_unknown].contains(kind(piece)), !text.isEmpty else {
        return nil
      }
      return .init(id: layout.id(ofPiece: piece), text: text, isSpecial: true)
    }
  }
}
