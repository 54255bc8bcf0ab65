/// Documents end to end, cut into blocks of equal length. The last token of a block, which is a
/// label only, is the first of the next one: every token but the very first is learned once.
struct TokenBlocks {
  let rows: Int
  private var tokens: [Int32] = []

  init(rows: Int) { self.rows = rows }

  /// The blocks that a document completes.
  mutating func add(_ document: [Int32]) -> [[Int32]] {
    tokens += document
    var blocks: [[Int32]] = []
    var start = 0
    while tokens.count - start > rows {
      blocks.append(Array(tokens[start...start + rows]))
      start += rows
    }
    tokens.removeSubrange(..<start)
    return blocks
  }

  /// What is left, if there is anything to learn in it.
  var rest: [Int32]? { tokens.count >= 2 ? tokens : nil }
}
