/// A configuration that cannot be run: the key, what is wrong with it, and what would do.
package struct ConfigError: Error, Equatable, Sendable, CustomStringConvertible {
  package let key: String
  package let problem: String
  package let remedy: String
  /// `FILE:LINE` where known.
  package var place = ""
  /// The file itself could not be read.
  package var isMissingFile = false

  package var description: String {
    (place.isEmpty ? "" : "\(place): ") + (key.isEmpty ? "" : "\(key): ") + "\(problem); \(remedy)"
  }
}

/// The candidate that a person who typed `word` most likely meant, if any is near.
func nearest(_ word: String, among candidates: [String]) -> String? {
  let scored = candidates.map { (distance: editDistance(word, $0), candidate: $0) }
  guard let best = scored.min(by: { $0.distance < $1.distance }) else { return nil }
  return best.distance <= max(2, word.count / 3) ? best.candidate : nil
}

/// Levenshtein distance: insertions, deletions and replacements that turn `a` into `b`.
private func editDistance(_ a: String, _ b: String) -> Int {
  let b = Array(b)
  var row = Array(0...b.count)
  for (i, x) in a.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for j in b.indices {
      let replaced = diagonal + (x == b[j] ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = min(replaced, diagonal + 1, row[j] + 1)
    }
  }
  return row[b.count]
}
