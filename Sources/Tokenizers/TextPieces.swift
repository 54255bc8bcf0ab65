/// A text and the pieces that it is cut into; between them there may be text that was dropped.
struct TextPieces: Sendable {
  var bytes: [UInt8]
  /// In order, without overlap, none of them empty.
  var ranges: [Range<Int>]
  /// Whether the text is the beginning of what is encoded.
  let isStart: Bool

  init(_ bytes: [UInt8], isStart: Bool) {
    self.bytes = bytes
    self.isStart = isStart
    ranges = bytes.isEmpty ? [] : [0..<bytes.count]
  }

  /// Cuts each piece into the ranges that `cut` finds in it.
  mutating func split(_ cut: (_ bytes: [UInt8], _ range: Range<Int>) -> [Range<Int>]) {
    var pieces: [Range<Int>] = []
    pieces.reserveCapacity(ranges.count)
    for range in ranges {
      for piece in cut(bytes, range) where !piece.isEmpty { pieces.append(piece) }
    }
    ranges = pieces
  }

  /// Puts what `write` makes of each piece in its place.
  mutating func rewrite(
    _ write: (_ bytes: ArraySlice<UInt8>, _ isFirst: Bool, _ into: inout [UInt8]) -> Void
  ) {
    var written: [UInt8] = []
    written.reserveCapacity(bytes.count + ranges.count)
    for index in ranges.indices {
      let start = written.count
      write(bytes[ranges[index]], isStart && ranges[index].lowerBound == 0, &written)
      ranges[index] = start..<written.count
    }
    bytes = written
  }
}

/// What becomes of the text that a cut was made for.
enum SplitBehavior: String, CaseIterable, Sendable {
  case removed = "Removed"
  case isolated = "Isolated"
  case mergedWithPrevious = "MergedWithPrevious"
  case mergedWithNext = "MergedWithNext"
  case contiguous = "Contiguous"

  init(_ field: JSONField) throws(TokenizerError) {
    let name = try field.string()
    guard let behavior = SplitBehavior(rawValue: name) else {
      throw field.unsupported("the behavior \(name)", known: Self.allCases.map(\.rawValue))
    }
    self = behavior
  }

  /// The pieces of `range`, in which `matches` were found.
  /// - Parameter isInverted: what lies between the matches is cut for, not they.
  func pieces(
    of range: Range<Int>, matches: [Range<Int>], isInverted: Bool = false
  ) -> [Range<Int>] {
    var parts: [(range: Range<Int>, isCut: Bool)] = []
    parts.reserveCapacity(2 * matches.count + 1)
    var end = range.lowerBound
    for match in matches {
      if match.lowerBound > end { parts.append((end..<match.lowerBound, isInverted)) }
      parts.append((match, !isInverted))
      end = match.upperBound
    }
    if end < range.upperBound { parts.append((end..<range.upperBound, isInverted)) }
    switch self {
    case .isolated: return parts.map(\.range)
    case .removed: return parts.filter { !$0.isCut }.map(\.range)
    case .contiguous: return Self.merge(parts) { $0 == $1 }
    case .mergedWithPrevious: return Self.merge(parts) { isCut, wasCut in isCut && !wasCut }
    case .mergedWithNext: return Self.merge(parts.reversed()) { $0 && !$1 }.reversed()
    }
  }

  /// Joins a part to the one before where `joins` says so of "is cut for" and "was cut for".
  private static func merge(
    _ parts: [(range: Range<Int>, isCut: Bool)], _ joins: (Bool, Bool) -> Bool
  ) -> [Range<Int>] {
    var merged: [Range<Int>] = []
    var wasCut = false
    for part in parts {
      if joins(part.isCut, wasCut), let last = merged.popLast() {
        let start = min(last.lowerBound, part.range.lowerBound)
        merged.append(start..<max(last.upperBound, part.range.upperBound))
      } else {
        merged.append(part.range)
      }
      wasCut = part.isCut
    }
    return merged
  }
}
