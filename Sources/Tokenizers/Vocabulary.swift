/// The tokens of a model, by id and by text.
struct Vocabulary: Sendable {
  /// Highest id that is taken.
  static let idMax = (1 << 22) - 1

  private var ids: [ExactText: Int32] = [:]
  private var texts: [String?] = []

  /// Ids that are in use, gaps between them included.
  var count: Int { texts.count }

  func id(_ text: String) -> Int32? { ids[ExactText(text)] }

  func id(_ bytes: ArraySlice<UInt8>) -> Int32? { ids[ExactText(bytes)] }

  func text(_ id: Int32) -> String? { texts.indices.contains(Int(id)) ? texts[Int(id)] : nil }

  /// Texts with their ids, in order of ids.
  var entries: [(text: String, id: Int32)] {
    texts.enumerated().compactMap { id, text in text.map { ($0, Int32(id)) } }
  }

  mutating func reserve(_ count: Int) {
    ids.reserveCapacity(count)
    texts.reserveCapacity(count)
  }

  /// Adds a token; what is wrong with it otherwise.
  mutating func add(_ text: String, id: Int32) -> String? {
    precondition(id >= 0, "an id counts from 0")
    guard id <= Self.idMax else { return "the id \(id) is above \(Self.idMax)" }
    if let other = self.text(id) {
      return "the id \(id) of `\(text)` is that of `\(other)` as well"
    }
    guard ids.updateValue(id, forKey: ExactText(text)) == nil else {
      return "`\(text)` occurs twice"
    }
    while texts.count <= Int(id) { texts.append(nil) }
    texts[Int(id)] = text
    return nil
  }
}
