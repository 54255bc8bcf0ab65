import Foundation

/// A value of a JSON file with its place in it, such as `model.vocab`: its errors name both. A
/// value that is missing or null has no `value`.
struct JSONField: Sendable {
  let path: String
  let place: String
  let value: JSONValue?

  /// Longest file that is read: twice the largest in use.
  static let byteCountMax = 64 << 20

  /// The whole of the file at `path`.
  static func read(path: String) throws(TokenizerError) -> JSONField {
    let bytes = try JSONField.bytes(path: path)
    do throws(JSONReader.Defect) {
      return JSONField(path: path, place: "", value: try JSONReader.read(bytes))
    } catch {
      throw .malformed(path: path, place: "offset \(error.offset)", cause: error.cause)
    }
  }

  static func bytes(path: String) throws(TokenizerError) -> [UInt8] {
    let data: Data
    do {
      let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
      data = try file.read(upToCount: byteCountMax + 1) ?? Data()
    } catch {
      throw .unreadable(path: path, cause: error.localizedDescription)
    }
    guard data.count <= byteCountMax else {
      throw .unreadable(path: path, cause: "more than \(byteCountMax) bytes")
    }
    return [UInt8](data)
  }

  init(path: String, place: String, value: JSONValue?) {
    (self.path, self.place) = (path, place)
    if case .null = value { self.value = nil } else { self.value = value }
  }

  // MARK: Parts

  subscript(_ key: String) -> JSONField {
    var found: JSONValue?
    if case .object(let members) = value {
      found = members.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
    }
    return JSONField(path: path, place: place.isEmpty ? key : "\(place).\(key)", value: found)
  }

  var isPresent: Bool { value != nil }

  func elements() throws(TokenizerError) -> [JSONField] {
    guard case .array(let values) = value else { throw unlike("an array") }
    return values.enumerated().map { index, value in
      JSONField(path: path, place: "\(place)[\(index)]", value: value)
    }
  }

  func members() throws(TokenizerError) -> [(key: String, field: JSONField)] {
    guard case .object(let members) = value else { throw unlike("an object") }
    return members.map { key, value in
      (key, JSONField(path: path, place: "\(place).\(key)", value: value))
    }
  }

  // MARK: Values

  func string() throws(TokenizerError) -> String {
    guard case .string(let text) = value else { throw unlike("a string") }
    return text
  }

  /// The string, or nil where there is none.
  func optionalString() throws(TokenizerError) -> String? {
    isPresent ? try string() : nil
  }

  func scalar() throws(TokenizerError) -> Unicode.Scalar {
    let scalars = try string().unicodeScalars
    guard scalars.count == 1, let scalar = scalars.first else { throw unlike("one character") }
    return scalar
  }

  func bool() throws(TokenizerError) -> Bool {
    guard case .bool(let flag) = value else { throw unlike("true or false") }
    return flag
  }

  func bool(default standard: Bool) throws(TokenizerError) -> Bool {
    isPresent ? try bool() : standard
  }

  func integer(in range: ClosedRange<Int>) throws(TokenizerError) -> Int {
    guard case .integer(let number) = value, range.contains(number) else {
      throw unlike("an integer from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  func id() throws(TokenizerError) -> Int32 {
    Int32(try integer(in: 0...Vocabulary.idMax))
  }

  // MARK: Errors

  func malformed(_ cause: String) -> TokenizerError {
    .malformed(path: path, place: place.isEmpty ? "the top" : place, cause: cause)
  }

  func unsupported(_ part: String, known: [String]) -> TokenizerError {
    .unsupported(path: path, place: place.isEmpty ? "the top" : place, part: part, known: known)
  }

  private func unlike(_ wanted: String) -> TokenizerError {
    malformed(isPresent ? "\(kind) where \(wanted) is due" : "\(wanted) is missing")
  }

  private var kind: String {
    switch value {
    case .integer(let number): "\(number)"
    case .some(let value): value.kind
    case nil: "nothing"
    }
  }
}
