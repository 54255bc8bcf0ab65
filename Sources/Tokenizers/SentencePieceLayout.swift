/// Where the pieces of a SentencePiece model stand in the vocabulary of a checkpoint, and which
/// tokens come with them.
///
///     plain     0 ..< n     the pieces, in their order
///     t5        0 ..< n     the pieces; then <extra_id_99> … <extra_id_0>, counted downwards
///     fairseq   0 … 3       <s> <pad> </s> <unk>
///               4 ... n     piece 3 and the others, each one higher than in the model
///               n + 1 …     the language codes; then <mask>
package enum SentencePieceLayout: Hashable, Sendable {
  /// As in Llama: `<s>` before a text and `</s>` after it, where the checkpoint says so.
  case plain(addsStart: Bool, addsEnd: Bool)
  /// As in T5 and Switch: every text ends in `</s>`.
  case t5(extraIDCount: Int)
  /// As in NLLB: every text begins with the code of its language and ends in `</s>`.
  case fairseq(languages: [String], source: String)

  /// Pieces of the model that fairseq has at other places: unknown, start and end.
  private static let fairseqSpecial: [Int32] = [3, 0, 2]
  private static let fairseqPad: Int32 = 1

  /// The id of a piece of the model.
  func id(ofPiece piece: Int32) -> Int32 {
    guard case .fairseq = self else { return piece }
    return piece < 3 ? Self.fairseqSpecial[Int(piece)] : piece + 1
  }

  /// The piece of an id; nil where the id is none of the model's.
  func piece(ofID id: Int32, count: Int) -> Int32? {
    guard case .fairseq = self else { return 0 <= id && id < count ? id : nil }
    if let piece = Self.fairseqSpecial.firstIndex(of: id) { return Int32(piece) }
    return id >= 4 && id <= count ? id - 1 : nil
  }

  /// The tokens that the model does not have.
  func addedTokens(pieceCount count: Int) -> [AddedTokens.Token] {
    let count = Int32(count)
    switch self {
    case .plain: return []
    case .t5(let extraIDCount):
      return (0..<Int32(extraIDCount)).map { index in
        .init(
          id: count + Int32(extraIDCount) - 1 - index, text: "<extra_id_\(index)>",
          isSpecial: true, stripsLeft: true, stripsRight: true)
      }
    case .fairseq(let languages, _):
      let codes = languages.enumerated().map { index, language in
        AddedTokens.Token(id: count + 1 + Int32(index), text: language, isSpecial: true)
      }
      let mask = AddedTokens.Token(
        id: count + 1 + Int32(languages.count), text: "<mask>", isSpecial: true, stripsLeft: true)
      return [.init(id: Self.fairseqPad, text: "<pad>", isSpecial: true)] + codes + [mask]
    }
  }
}
