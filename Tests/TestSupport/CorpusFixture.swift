package import Corpus
import Foundation
import Synchronization

/// Text for tests.
package enum Sentences {
  /// Sentences written for this project: language -> text, the same sentence at the same place.
  package static func all() throws -> [String: [String]] {
    let file = Bundle.module.bundleURL.appending(path: "Resources/sentences.tsv")
    let rows = String(decoding: try Data(contentsOf: file), as: UTF8.self).split(separator: "\n")
      .map { $0.split(separator: "\t").map(String.init) }
    var columns: [String: [String]] = [:]
    for (i, tag) in rows[0].enumerated() { columns[tag] = rows.dropFirst().map { $0[i] } }
    return columns
  }
}

/// A directory that goes away with its owner, or with the process: what a static property owns has
/// no other end.
package final class TemporaryDirectory: Sendable {
  package let path: String

  package init() throws {
    path = NSTemporaryDirectory() + "pagoda-corpus-" + UUID().uuidString
    Self.removeAllAtExit
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    Self.present.withLock { _ = $0.insert(path) }
  }

  deinit {
    try? FileManager.default.removeItem(atPath: path)
    Self.present.withLock { _ = $0.remove(path) }
  }

  private static let present = Mutex<Set<String>>([])
  private static let removeAllAtExit: Void = {
    atexit {
      for path in TemporaryDirectory.present.withLock({ $0 }) {
        try? FileManager.default.removeItem(atPath: path)
      }
    }
  }()

  package func write(_ text: String, _ name: String) throws {
    let url = URL(fileURLWithPath: "\(path)/\(name)")
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: url)
  }

  package func writeMessages(_ messages: [String: String], _ name: String) throws {
    let data = try JSONSerialization.data(withJSONObject: messages, options: .sortedKeys)
    try write(String(decoding: data, as: UTF8.self), name)
  }
}

/// A corpus of the sentences, prepared once for all tests: all of German, half of French, a quarter
/// of Russian, as MediaWiki messages.
package struct Fixture {
  package let directory: TemporaryDirectory
  package let corpus: ParallelCorpus
  package let tokenizer: Tokenizer

  package static var shared: Fixture { get throws { try made.get() } }
  private static let made = Result { try Fixture() }

  package static var options: CorpusPreparation.Options {
    var options = CorpusPreparation.Options()
    options.languages = .tags(["de", "fr", "ru"])
    options.heldOutShare = 0.25
    options.tokenizer.vocabularySize = 600
    options.tokenizer.threads = 1
    return options
  }

  private init() throws {
    directory = try TemporaryDirectory()
    try Self.writePackage(directory, "package")
    let output = directory.path + "/corpus"
    try CorpusPreparation(
      inputs: [directory.path + "/package"], output: output, options: Self.options
    ).run()
    corpus = try ParallelCorpus.open(output)
    tokenizer = try corpus.tokenizer()
  }

  package static func writePackage(_ directory: TemporaryDirectory, _ name: String) throws {
    let sentences = try Sentences.all()
    for (tag, file, stride) in [("en", "en", 1), ("de", "de", 1), ("fr", "fr", 2), ("ru", "ru", 4)]
    {
      var messages: [String: String] = [:]
      for (i, text) in (sentences[tag] ?? []).enumerated() where i % stride == 0 {
        messages["message-\(i)"] = text
      }
      try directory.writeMessages(messages, "\(name)/usr/share/x/i18n/\(file).json")
    }
    try directory.write(
      "Format: x\n\nFiles: *\nLicense: CC0-1.0\n", "\(name)/usr/share/doc/x/copyright")
  }
}
