/// What is put around the tokens of a text, such as `<s> … </s>`.
struct TokenTemplate: Sendable {
  private enum Part: Sendable {
    case special([Int32])
    case text
  }

  private let parts: [Part]

  static let known = ["Sequence", "TemplateProcessing", "ByteLevel"]
  private static let partCountMax = 64

  /// Reads `post_processor`, those parts of it that concern one text; none where there is none.
  static func steps(
    _ field: JSONField, _ isToken: (Int32) -> Bool
  ) throws(TokenizerError) -> [TokenTemplate] {
    let steps = try field.steps(nested: "processors") {
      kind, field throws(TokenizerError) -> TokenTemplate? in
      switch kind {
      case "TemplateProcessing": return try TokenTemplate(field, isToken)
      // It moves offsets only, and ids have none.
      case "ByteLevel": return nil
      default: throw field.unsupported("the post-processor \(kind)", known: known)
      }
    }.compactMap { $0 }
    guard steps.count <= 1 else { throw field.malformed("more than one template") }
    return steps
  }

  private init(_ field: JSONField, _ isToken: (Int32) -> Bool) throws(TokenizerError) {
    var special: [ExactText: [Int32]] = [:]
    for (name, token) in try field["special_tokens"].members() {
      var ids: [Int32] = []
      for id in try token["ids"].elements() {
        ids.append(try id.id())
        guard isToken(ids[ids.count - 1]) else { throw id.malformed("the id of no token") }
      }
      special[ExactText(name)] = ids
    }
    var parts: [Part] = []
    for part in try field["single"].elements() {
      parts.append(try Self.part(part, special))
      guard parts.count <= Self.partCountMax else {
        throw part.malformed("more than \(Self.partCountMax) parts")
      }
    }
    self.parts = parts
  }

  private static func part(
    _ field: JSONField, _ special: [ExactText: [Int32]]
  ) throws(TokenizerError) -> Part {
    if field["Sequence"].isPresent {
      let sequence = field["Sequence"]["id"]
      guard try sequence.string() == "A" else {
        throw sequence.malformed("a second text in the template for one")
      }
      return .text
    }
    let name = field["SpecialToken"]["id"]
    guard let ids = special[ExactText(try name.string())] else {
      throw name.malformed("a special token that the template does not define")
    }
    return .special(ids)
  }

  func callAsFunction(_ ids: [Int32]) -> [Int32] {
    parts.flatMap { part in
      switch part {
      case .special(let special): special
      case .text: ids
      }
    }
  }
}
