import CSentencePiece

/// The ids that mean something by themselves. Pieces of text come after them.
package struct SpecialTokens: Codable, Equatable, Sendable {
  package static let pad: Int32 = 0
  /// The start of every target input.
  package static let start: Int32 = 1
  /// The end of every source and of every target.
  package static let end: Int32 = 2
  package static let unknown: Int32 = 3
  private static let firstFree: Int32 = 4

  package let languageCount: Int

  package init(languageCount: Int) { self.languageCount = languageCount }

  /// `<2xx>`: translate into this language.
  package func into(_ language: LanguageIndex) -> Int32 {
    precondition(language.rawValue < languageCount, "a language of this corpus")
    return Self.firstFree + Int32(language.rawValue)
  }
  /// `<denoise>`: the source is a damaged text of the target language.
  package var denoise: Int32 { Self.firstFree + Int32(languageCount) }
  /// `<mask>`: stands for a span of removed tokens.
  package var mask: Int32 { denoise + 1 }
  package var count: Int { Int(mask) + 1 }
}

/// Text to token ids and back, with a SentencePiece model.
///
/// Special tokens are control symbols of the model: no text encodes to them, and they decode to
/// nothing. @unchecked Sendable: the model is never written after loading, and SentencePiece's
/// encode and decode are const member functions.
@safe package final class Tokenizer: @unchecked Sendable {
  private let model: OpaquePointer
  package let special: SpecialTokens

  /// Opens the model at `path` for a corpus of `languageCount` languages.
  package init(path: String, languageCount: Int) throws(CorpusError) {
    var message = [CChar](repeating: 0, count: 512)
    guard let model = unsafe cspm_load(path, &message, message.count) else {
      throw .damaged(
        path: path, offset: 0, cause: "no SentencePiece model (\(string(of: message)))")
    }
    unsafe self.model = model
    special = SpecialTokens(languageCount: languageCount)
    guard id(of: "<mask>") == special.mask, id(of: "<denoise>") == special.denoise else {
      throw .damaged(path: path, offset: 0, cause: "a model made for other languages")
    }
  }
  deinit { unsafe cspm_free(model) }

  package var vocabularySize: Int { Int(unsafe cspm_vocabulary_size(model)) }

  /// The tokens of `text`, without any special token.
  package func encode(_ text: String) -> [Int32] {
    var text = text
    return text.withUTF8 { utf8 in
      // A token covers at least one byte, plus one for the space put in front.
      let capacity = utf8.count + 2
      return unsafe [Int32](unsafeUninitializedCapacity: capacity) { ids, count in
        let needed = unsafe utf8.withMemoryRebound(to: CChar.self) { bytes in
          unsafe cspm_encode(model, bytes.baseAddress, bytes.count, ids.baseAddress, capacity)
        }
        precondition(needed >= 0 && needed <= capacity, "SentencePiece encodes any UTF-8")
        count = Int(needed)
      }
    }
  }

  /// `text` as the source of a translation into `language`, as in a micro-batch.
  package func source(_ text: String, into language: LanguageIndex) -> [Int32] {
    [special.into(language)] + encode(text) + [SpecialTokens.end]
  }

  /// The text of `tokens`; special tokens vanish.
  package func decode(_ tokens: [Int32]) -> String {
    precondition(tokens.allSatisfy { 0 <= $0 && $0 < vocabularySize }, "tokens of this vocabulary")
    var capacity = 16 + 8 * tokens.count
    while true {
      var needed: Int64 = 0
      let text = unsafe String(unsafeUninitializedCapacity: capacity) { bytes in
        unsafe bytes.withMemoryRebound(to: CChar.self) { chars in
          needed = unsafe cspm_decode(model, tokens, tokens.count, chars.baseAddress, capacity)
          return Int(min(max(needed, 0), Int64(capacity)))
        }
      }
      precondition(needed >= 0, "SentencePiece decodes any ids of its vocabulary")
      if needed <= capacity { return text }
      capacity = Int(needed)
    }
  }

  /// The id of `piece`; `SpecialTokens.unknown` when the vocabulary lacks it.
  package func id(of piece: String) -> Int32 { unsafe cspm_piece_to_id(model, piece) }

  /// The piece of `id`, as in the vocabulary.
  package func piece(_ id: Int32) -> String {
    precondition(0 <= id && id < vocabularySize, "a token of this vocabulary")
    var bytes = [CChar](repeating: 0, count: 256)
    _ = unsafe cspm_id_to_piece(model, id, &bytes, bytes.count - 1)
    return string(of: bytes)
  }
}

/// The text of a C string in an array.
func string(of bytes: [CChar]) -> String {
  String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
