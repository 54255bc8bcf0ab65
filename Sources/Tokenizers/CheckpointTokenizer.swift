import Foundation

/// The tokenizer that comes with a checkpoint, read from the files in its folder: text to the ids
/// that the model was trained on, and back.
///
/// Not to be confused with `Corpus.Tokenizer`, which is trained together with a corpus and knows
/// its languages. May be used from several threads at once.
package struct CheckpointTokenizer: Sendable {
  private enum Engine: Sendable {
    case pipeline(TokenizerPipeline)
    case sentencePiece(SentencePieceTokenizer)
  }

  /// Ids that mean something by themselves; nil where the checkpoint has none of a kind.
  package struct SpecialIDs: Hashable, Sendable {
    package var start: Int32?
    package var end: Int32?
    package var padding: Int32?
    package var unknown: Int32?

    package init(
      start: Int32? = nil, end: Int32? = nil, padding: Int32? = nil, unknown: Int32? = nil
    ) {
      (self.start, self.end, self.padding, self.unknown) = (start, end, padding, unknown)
    }
  }

  private let engine: Engine
  package private(set) var special = SpecialIDs()
  /// Rows of the model's embedding according to `config.json`: it may be padded beyond the tokens.
  package private(set) var embeddingRowCount: Int?

  /// Opens `tokenizer.json` in `folder`, else `spiece.model`, `sentencepiece.bpe.model` or
  /// `tokenizer.model`; special tokens and the layout of ids as `tokenizer_config.json`,
  /// `special_tokens_map.json` and `config.json` have them.
  package init(folder: String) throws(TokenizerError) {
    let settings = try CheckpointSettings(folder: folder)
    let names = ["tokenizer.json"] + CheckpointSettings.pieceFiles
    guard
      let name = names.first(where: { FileManager.default.fileExists(atPath: "\(folder)/\($0)") })
    else { throw .missing(folder: folder, names: names) }
    let path = "\(folder)/\(name)"
    if name == "tokenizer.json" {
      engine = .pipeline(try TokenizerPipeline(path: path))
    } else {
      let layout = try settings.layout(file: name)
      let added = try settings.addedTokens()
      engine = .sentencePiece(try SentencePieceTokenizer(path: path, layout: layout, added: added))
    }
    special = SpecialIDs(
      start: try settings.id(of: "bos", id), end: try settings.id(of: "eos", id),
      padding: try settings.id(of: "pad", id), unknown: try settings.id(of: "unk", id))
    embeddingRowCount = try settings.embeddingRowCount
  }

  /// Opens a `tokenizer.json` by itself, without special ids.
  package init(tokenizerJSON path: String) throws(TokenizerError) {
    engine = .pipeline(try TokenizerPipeline(path: path))
  }

  /// Opens a SentencePiece model by itself, without special ids.
  package init(sentencePiece path: String, layout: SentencePieceLayout) throws(TokenizerError) {
    engine = .sentencePiece(try SentencePieceTokenizer(path: path, layout: layout))
  }

  /// The highest id and one.
  package var vocabularySize: Int {
    switch engine {
    case .pipeline(let tokenizer): tokenizer.vocabularySize
    case .sentencePiece(let tokenizer): tokenizer.vocabularySize
    }
  }

  /// The tokens of `text`.
  /// - Parameter addSpecialTokens: whether with those that the checkpoint puts around a text.
  package func encode(
    _ text: String, addSpecialTokens: Bool
  ) throws(TokenizerError) -> [Int32] {
    switch engine {
    case .pipeline(let tokenizer):
      try tokenizer.encode(text, addSpecialTokens: addSpecialTokens)
    case .sentencePiece(let tokenizer):
      try tokenizer.encode(text, addSpecialTokens: addSpecialTokens)
    }
  }

  /// The text of `ids`; those that are no token's, as in the padding of an embedding, are left out.
  package func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    switch engine {
    case .pipeline(let tokenizer): tokenizer.decode(ids, skipSpecialTokens: skipSpecialTokens)
    case .sentencePiece(let tokenizer): tokenizer.decode(ids, skipSpecialTokens: skipSpecialTokens)
    }
  }

  /// The id of a token, written as in the vocabulary.
  package func id(of token: String) -> Int32? {
    switch engine {
    case .pipeline(let tokenizer): tokenizer.id(of: token)
    case .sentencePiece(let tokenizer): tokenizer.id(of: token)
    }
  }

  /// The token of an id, written as in the vocabulary.
  package func token(of id: Int32) -> String? {
    switch engine {
    case .pipeline(let tokenizer): tokenizer.token(of: id)
    case .sentencePiece(let tokenizer): tokenizer.token(of: id)
    }
  }
}
