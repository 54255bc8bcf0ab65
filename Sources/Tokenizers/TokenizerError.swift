/// Why the tokenizer of a checkpoint cannot be read or used. Each description says where and what
/// to do.
package enum TokenizerError: Error, Hashable, Sendable, CustomStringConvertible {
  case unreadable(path: String, cause: String)
  /// A folder without any file that a tokenizer is read from.
  case missing(folder: String, names: [String])
  /// A file that is not what its format says; `place` is an offset or the path of a JSON value.
  case malformed(path: String, place: String, cause: String)
  /// A well-formed file that asks for a part which is not implemented.
  case unsupported(path: String, place: String, part: String, known: [String])
  /// Text that this vocabulary cannot express, or more of it than fits.
  case unencodable(cause: String)

  package var description: String {
    switch self {
    case .unreadable(let path, let cause):
      "cannot read \(path): \(cause); check the path, its rights, and that all files were copied"
    case .missing(let folder, let names):
      "\(folder) holds none of \(names.joined(separator: ", ")); "
        + "copy the tokenizer's files from where the checkpoint came"
    case .malformed(let path, let place, let cause):
      "\(path) at \(place): \(cause); get the file again from where the checkpoint came"
    case .unsupported(let path, let place, let part, let known):
      "\(path) at \(place): \(part) is not supported, only \(known.joined(separator: ", ")); "
        + "convert the text to token ids with the checkpoint's own tools"
    case .unencodable(let cause):
      "the text cannot be encoded: \(cause); split or clean the text"
    }
  }
}
