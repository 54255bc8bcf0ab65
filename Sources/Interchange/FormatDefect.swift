/// Why bytes are not what their format says: the place, in bytes from their start, and what is
/// wrong there.
package struct FormatDefect: Error, Hashable, Sendable {
  package let offset: Int
  package let cause: String
  /// What helps against bytes that are in order and are not read; nil when they are not in order.
  package let remedy: String?

  init(offset: Int, cause: String, remedy: String? = nil) {
    self.offset = offset
    self.cause = cause
    self.remedy = remedy
  }

  /// The same in a file in which the bytes start at `start`.
  func moved(by start: Int) -> FormatDefect {
    FormatDefect(offset: start + offset, cause: cause, remedy: remedy)
  }
}

extension InterchangeError {
  /// - Parameter defect: of bytes that are the whole file at `path`, or start it.
  init(_ defect: FormatDefect, _ path: String) {
    if let remedy = defect.remedy {
      self = .unsupported(path: path, offset: defect.offset, cause: defect.cause, remedy: remedy)
    } else {
      self = .malformed(path: path, offset: defect.offset, cause: defect.cause)
    }
  }
}

/// A name out of a file as it may stand in a message: short, and without control characters.
func printable(_ name: String) -> String {
  let scalars = name.unicodeScalars
  let text = scalars.prefix(200).map { scalar in
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .lineSeparator, .paragraphSeparator:
      "\\u{\(String(scalar.value, radix: 16))}"
    default: String(scalar)
    }
  }
  return text.joined() + (scalars.count > 200 ? "…" : "")
}
