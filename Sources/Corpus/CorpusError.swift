import Base

/// What can go wrong between the packages of text and a batch of tokens.
package enum CorpusError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An option that no corpus can be made with.
  case option(name: String, cause: String)
  case missingInput(path: String)
  /// The inputs hold no text of a kind that a reader knows.
  case nothingFound(paths: [String])
  case languageWithoutData(tag: String, available: [String])
  case unreadable(path: String, cause: String)
  case unwritable(path: String, cause: String)
  /// The output directory holds something that is not a corpus.
  case notACorpus(path: String)
  /// A prepared file that does not hold what `corpus.json` says.
  case damaged(path: String, offset: Int, cause: String)
  case tokenizer(cause: String, remedy: String)
  /// A line of a text file that is not what its format says.
  case badLine(path: String, line: Int, cause: String, remedy: String)
  /// A text file without anything to learn from.
  case noExamples(path: String, cause: String)
  /// A text file whose tokens do not fit in the memory that was set aside for them.
  case tooLarge(path: String, line: Int, bytes: Int, limit: Int)

  package var description: String {
    switch self {
    case .option(let name, let cause):
      "option \(name): \(cause)"
    case .missingInput(let path):
      "no directory \(path): unpack the packages first with tools/setup data"
    case .nothingFound(let paths):
      "no i18n/en.json and no help/C/*.page below \(paths.joined(separator: ", ")): "
        + "unpack the packages there with tools/setup data"
    case .languageWithoutData(let tag, let available):
      "no clean text for language \(tag); there is some for \(available.joined(separator: " "))"
    case .unreadable(let path, let cause):
      "cannot read \(path): \(cause)"
    case .unwritable(let path, let cause):
      "cannot write \(path): \(cause)"
    case .notACorpus(let path):
      "\(path) exists and is not a corpus: give another output directory, or remove it"
    case .damaged(let path, let offset, let cause):
      "\(path) at offset \(offset): \(cause); run pagoda corpus prepare again"
    case .tokenizer(let cause, let remedy):
      "tokenizer: \(cause); \(remedy)"
    case .badLine(let path, let line, let cause, let remedy):
      "\(path) line \(line): \(cause); \(remedy)"
    case .noExamples(let path, let cause):
      "\(path): \(cause)"
    case .tooLarge(let path, let line, let bytes, let limit):
      "\(path) line \(line): its tokens take \(ByteCount(bytes)) so far, above the "
        + "\(ByteCount(limit)) set aside for them; give it more memory, or split the file"
    }
  }
}
