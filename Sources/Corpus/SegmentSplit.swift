import Foundation

/// The segments of a corpus, on two sides that share no English text.
///
/// The side is decided by a hash of the English text alone: the same sentence in another language,
/// in another package or in another release falls on the same side, so nothing leaks.
struct SegmentSplit {
  /// English first.
  let tags: [String]
  /// `[segment][language]`, nil where there is no translation.
  private(set) var training: [[String?]] = []
  private(set) var heldOut: [[String?]] = []

  init(table: SegmentTable, tags: [String], options: CorpusPreparation.Options) {
    self.tags = tags
    let columns = tags.dropFirst().map { table.translations[$0] ?? [:] }
    let ranked = Self.ranked(table.english, seed: options.seed)
    // Every language takes its segments in the same order, so that what is cut away is the same
    // everywhere and many languages keep the same segments.
    var room = [Int](repeating: options.segmentsPerLanguageMax, count: columns.count)
    for segment in ranked {
      let isHeldOut = Self.isHeldOut(table.english[segment], share: options.heldOutShare)
      var row: [String?] = [table.english[segment]]
      for (i, column) in columns.enumerated() {
        let text = isHeldOut || room[i] > 0 ? column[segment] : nil
        if text != nil && !isHeldOut { room[i] -= 1 }
        row.append(text)
      }
      guard row.dropFirst().contains(where: { $0 != nil }) else { continue }
      if isHeldOut { heldOut.append(row) } else { training.append(row) }
    }
    dropHeldOutTranslationsSeenInTraining()
  }

  /// Segments in an order that only the texts and the seed decide.
  private static func ranked(_ english: [String], seed: UInt64) -> [Int] {
    let hashes = english.map { StableHash.combine(seed, StableHash.of($0)) }
    return english.indices.sorted { (hashes[$0], $0) < (hashes[$1], $1) }
  }

  static func isHeldOut(_ english: String, share: Double) -> Bool {
    isHeldOut(hash: hash(english), share: share)
  }

  /// The hash that decides the side of a text.
  static func hash(_ text: String) -> UInt64 { StableHash.of(TextCleaning.folded(text)) }

  static func isHeldOut(hash: UInt64, share: Double) -> Bool {
    let resolution: UInt64 = 1_000_000
    return hash % resolution < UInt64((share * Double(resolution)).rounded())
  }

  /// Two English texts can have one translation: scores on such a pair would flatter the model.
  private mutating func dropHeldOutTranslationsSeenInTraining() {
    for language in tags.indices.dropFirst() {
      let seen = Set(training.compactMap { $0[language] })
      for i in heldOut.indices {
        if let text = heldOut[i][language], seen.contains(text) { heldOut[i][language] = nil }
      }
    }
    heldOut.removeAll { row in row.dropFirst().allSatisfy { $0 == nil } }
  }

  /// Training text for the vocabulary: at most `bytesMax` bytes, an equal share for every language;
  /// what small languages leave unused is not given to others. Segments are in the order of a hash,
  /// so the first ones are a fair sample.
  func sample(bytesMax: Int) -> [String] {
    let share = bytesMax / tags.count
    var lines: [String] = []
    for language in tags.indices {
      var left = share
      for row in training {
        guard let text = row[language] else { continue }
        guard text.utf8.count <= left else { break }
        left -= text.utf8.count
        lines.append(text)
      }
    }
    return lines
  }

  func encoded(_ rows: [[String?]], _ tokenizer: Tokenizer) -> TokenShard {
    let cells = tags.indices.map { language in
      rows.map { row in
        row[language].map { tokenizer.encode($0).map { UInt16($0) } } ?? []
      }
    }
    return TokenShard(cells: cells, segmentCount: rows.count)
  }

  /// The raw held-out text as a table; cleaning has left no tab and no line break in it.
  var heldOutText: Data {
    let rows = [tags] + heldOut.map { $0.map { $0 ?? "" } }
    let lines = rows.map { $0.joined(separator: "\t") + "\n" }
    return Data(lines.joined().utf8)
  }
}
