/// Which languages a corpus shall hold beside English.
package enum LanguageSelection: Equatable, Sendable {
  /// These tags; English need not be named.
  case tags([String])
  /// The languages with the most clean segments.
  case top(Int)
}

/// In `corpus.json` a list of tags, or a number.
extension LanguageSelection: Codable {
  package init(from decoder: any Decoder) throws {
    let value = try decoder.singleValueContainer()
    if let count = try? value.decode(Int.self) {
      self = .top(count)
    } else {
      self = .tags(try value.decode([String].self))
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var value = encoder.singleValueContainer()
    switch self {
    case .tags(let tags): try value.encode(tags)
    case .top(let count): try value.encode(count)
    }
  }
}
