import Foundation

/// What the small files of a checkpoint say about its tokenizer: `tokenizer_config.json`,
/// `special_tokens_map.json` and `config.json`. Each may be missing.
struct CheckpointSettings: Sendable {
  private let tokenizer: JSONField
  private let specialTokens: JSONField
  private let model: JSONField
  private let folder: String

  init(folder: String) throws(TokenizerError) {
    func read(_ name: String) throws(TokenizerError) -> JSONField {
      let path = "\(folder)/\(name)"
      guard FileManager.default.fileExists(atPath: path) else {
        return JSONField(path: path, place: "", value: nil)
      }
      let file = try JSONField.read(path: path)
      _ = try file.members()
      return file
    }
    self.folder = folder
    tokenizer = try read("tokenizer_config.json")
    specialTokens = try read("special_tokens_map.json")
    model = try read("config.json")
  }

  var modelType: String? { get throws(TokenizerError) { try model["model_type"].optionalString() } }

  /// Rows of the model's embedding, which may be more than there are tokens.
  var embeddingRowCount: Int? {
    get throws(TokenizerError) {
      let field = model["vocab_size"]
      return field.isPresent ? try field.integer(in: 1...(Vocabulary.idMax + 1)) : nil
    }
  }

  /// The id of a special token such as `bos`: by its text, else as the model's configuration has
  /// it.
  func id(
    of name: String, _ find: (String) -> Int32?
  ) throws(TokenizerError) -> Int32? {
    for field in [tokenizer["\(name)_token"], specialTokens["\(name)_token"]] where field.isPresent
    {
      let text = try Self.text(field)
      guard let id = find(text) else { throw field.malformed("`\(text)` is not in the vocabulary") }
      return id
    }
    let field = model["\(name)_token_id"]
    guard field.isPresent else { return nil }
    // Several ends: the first is that of a text.
    if case .array = field.value { return try field.elements().first?.id() }
    return try field.id()
  }

  /// A token is a string, or an object with a `content`.
  private static func text(_ field: JSONField) throws(TokenizerError) -> String {
    if case .object = field.value { return try field["content"].string() }
    return try field.string()
  }

  // MARK: SentencePiece

  static let pieceFiles = ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model"]

  private static let t5Types = ["t5", "mt5", "umt5", "longt5", "switch_transformers"]
  private static let fairseqTypes = ["nllb-moe", "nllb_moe", "m2m_100"]

  /// How the ids of a checkpoint follow from its SentencePiece model: by the type of the model, and
  /// where that is not known, by the name of the file.
  func layout(file: String) throws(TokenizerError) -> SentencePieceLayout {
    let type = try modelType
    if let type, Self.t5Types.contains(type) || Self.fairseqTypes.contains(type) {
      return Self.t5Types.contains(type) ? try t5() : try fairseq()
    }
    switch file {
    case "spiece.model" where type == nil: return try t5()
    case "sentencepiece.bpe.model" where type == nil: return try fairseq()
    case "tokenizer.model":
      return .plain(
        addsStart: try tokenizer["add_bos_token"].bool(default: true),
        addsEnd: try tokenizer["add_eos_token"].bool(default: false))
    default:
      throw model["model_type"].unsupported(
        "`\(type ?? "")` with \(file)", known: Self.t5Types + Self.fairseqTypes)
    }
  }

  /// The tokens of `added_tokens_decoder`, which newer checkpoints have: a list of all.
  func addedTokens() throws(TokenizerError) -> [AddedTokens.Token]? {
    let field = tokenizer["added_tokens_decoder"]
    guard field.isPresent else { return nil }
    var tokens: [AddedTokens.Token] = []
    for (key, token) in try field.members() {
      guard let id = Int32(key), (0...Int32(Vocabulary.idMax)).contains(id) else {
        throw token.malformed("no id from 0 to \(Vocabulary.idMax)")
      }
      guard tokens.count < SentencePieceTokenizer.addedCountMax else {
        throw field.malformed("more than \(SentencePieceTokenizer.addedCountMax) tokens")
      }
      // SentencePiece normalises only what is between them.
      tokens.append(try AddedTokens.token(token, id: id, isNormalized: false))
    }
    return tokens.filter { !$0.text.isEmpty }
  }

  private func t5() throws(TokenizerError) -> SentencePieceLayout {
    let field = tokenizer["extra_ids"]
    let range = 0...SentencePieceTokenizer.addedCountMax
    return .t5(extraIDCount: field.isPresent ? try field.integer(in: range) : 100)
  }

  private func fairseq() throws(TokenizerError) -> SentencePieceLayout {
    let legacy = tokenizer["legacy_behaviour"]
    guard try !legacy.bool(default: false) else {
      throw legacy.unsupported("the language after the text", known: ["false"])
    }
    let name = "additional_special_tokens"
    let field = tokenizer[name].isPresent ? tokenizer[name] : specialTokens[name]
    var languages: [String] = []
    for element in try field.elements() { languages.append(try Self.text(element)) }
    languages.removeAll { $0 == "<mask>" }
    guard languages.count <= SentencePieceTokenizer.addedCountMax else {
      throw field.malformed("more than \(SentencePieceTokenizer.addedCountMax) tokens")
    }
    let source = try tokenizer["src_lang"].optionalString() ?? "eng_Latn"
    guard languages.contains(source) else {
      throw field.malformed("no token `\(source)`, which texts begin with")
    }
    return .fairseq(languages: languages, source: source)
  }
}
