import Corpus
import Foundation

/// Text that a tokenizer is trained on.
package struct TrainingText: Sendable {
  package let lines: [String]
  /// Tokens of its languages, English first: those of a corpus as M2M-100 writes them, since a tag by
  /// itself may be a piece of text; English for a plain file.
  package let languages: [String]

  /// - Parameters:
  ///   - path: of a prepared corpus, whose texts are decoded, or of a file with a text on each line.
  ///   - bytesMax: most UTF-8 bytes that are taken, from each language as many.
  /// - Throws: `CorpusError`; `SynthesisError.unreadableText`.
  package init(_ path: String, bytesMax: Int) throws {
    var isDirectory: ObjCBool = false
    guard unsafe FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw SynthesisError.unreadableText(path: path, cause: "there is no such file")
    }
    if isDirectory.boolValue {
      try self.init(corpus: path, bytesMax: bytesMax)
    } else {
      try self.init(file: path, bytesMax: bytesMax)
    }
  }

  private init(corpus path: String, bytesMax: Int) throws {
    let corpus = try ParallelCorpus.open(path)
    let tokenizer = try corpus.tokenizer()
    var lines: [String] = []
    for language in corpus.languages {
      var room = bytesMax / corpus.languageCount
      for segment in 0..<corpus.training.segmentCount where room > 0 {
        let tokens = corpus.training.tokens(segment, language)
        guard !tokens.isEmpty else { continue }
        let text = tokenizer.decode(tokens.map { Int32($0) })
        lines.append(text)
        room -= text.utf8.count + 1
      }
    }
    self.lines = lines
    languages = corpus.languages.map { "__\(corpus.tag($0))__" }
  }

  private init(file path: String, bytesMax: Int) throws {
    let bytes: Data
    do {
      let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
      bytes = try file.read(upToCount: bytesMax) ?? Data()
    } catch {
      throw SynthesisError.unreadableText(path: path, cause: error.localizedDescription)
    }
    let text = String(decoding: bytes, as: UTF8.self)
    lines = text.split(whereSeparator: \.isNewline).map(String.init)
    languages = ["eng_Latn"]
    guard !lines.isEmpty else {
      throw SynthesisError.unreadableText(path: path, cause: "it is empty")
    }
  }
}
