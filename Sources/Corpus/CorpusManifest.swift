import Foundation

/// `corpus.json`: what a prepared corpus holds and where it came from.
package struct CorpusManifest: Codable, Equatable, Sendable {
  package struct Language: Codable, Equatable, Sendable {
    package let tag: String
    package let trainingSegments: Int
    package let heldOutSegments: Int
    package let trainingTokens: Int
    package let heldOutTokens: Int
  }
  package struct Source: Codable, Equatable, Sendable {
    package let name: String
    /// As the package states it; its full text lies in `licences/`.
    package let licence: String
    package let segments: Int
  }
  package struct File: Codable, Equatable, Sendable {
    package let bytes: Int
    /// `StableHash` of the bytes, in hexadecimal.
    package let checksum: String
  }

  package static let currentVersion = 1
  /// Tokens are stored in 16 bits.
  private static let vocabularyMax = 1 << 16

  package let formatVersion: Int
  /// English first; the order is that of `LanguageIndex`.
  package let languages: [Language]
  package let vocabularySize: Int
  package let trainingSegments: Int
  package let heldOutSegments: Int
  package let options: CorpusPreparation.Options
  package let sources: [Source]
  package let files: [String: File]
  /// One number for all files: the identity of the corpus.
  package let checksum: String

  package func index(of tag: String) -> LanguageIndex? {
    languages.firstIndex { $0.tag == tag }.map { LanguageIndex($0) }
  }

  /// What decides which token means what: the same of corpora that models can share.
  package var tokens: [String] {
    [files[CorpusFile.tokenizer]?.checksum ?? ""] + languages.map(\.tag)
  }

  /// Whether sums of its numbers are numbers, and every special token is in the vocabulary.
  var isPossible: Bool {
    let counts =
      languages.flatMap {
        [$0.trainingSegments, $0.heldOutSegments, $0.trainingTokens, $0.heldOutTokens]
      } + [trainingSegments, heldOutSegments] + files.values.map(\.bytes)
    let special = SpecialTokens(languageCount: min(languages.count, Self.vocabularyMax)).count
    return !languages.isEmpty && special <= vocabularySize && vocabularySize <= Self.vocabularyMax
      && counts.allSatisfy { 0...1 << 40 ~= $0 }
  }

  static func checksum(_ files: [String: File]) -> String {
    let lines = files.keys.sorted().map { "\($0) \(files[$0]?.checksum ?? "")" }
    return hexadecimal(StableHash.of(lines.joined(separator: "\n")))
  }
}

extension CorpusManifest.File {
  init(_ data: Data) {
    self.init(bytes: data.count, checksum: hexadecimal(StableHash.of(data)))
  }
}

func hexadecimal(_ value: UInt64) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}

/// The names of the files of a corpus directory.
enum CorpusFile {
  static let manifest = "corpus.json"
  static let tokenizer = "spm.model"
  static let training = "train.bin"
  static let heldOut = "heldout.bin"
  /// The raw text of the held-out segments: a row of tags, then a row per segment, cells between
  /// tabs.
  static let heldOutText = "heldout.tsv"
  static let checked = [tokenizer, training, heldOut, heldOutText]
}
