/// Takes typed values out of the members of a `config.json`, and remembers which it was asked for.
/// A key that is not there has the default of transformers; `null` is no default, as in Python.
/// - Throws, everywhere: `InterchangeError` with the offset of the key.
struct ConfigurationReader {
  private let path: String
  private let members: [String: JSONValue]
  private let offsets: [String: Int]
  private(set) var asked: Set<String> = []

  private static let byteCountMax = 1 << 24

  init(_ path: String) throws(InterchangeError) {
    let file = try InputFile(path)
    let bytes = try file.contents(byteCountMax: Self.byteCountMax)
    var members: [String: JSONValue] = [:]
    var offsets: [String: Int] = [:]
    var json = JSONScanner(bytes: bytes, range: bytes.indices)
    do throws(FormatDefect) {
      try json.object { (json, key, offset) throws(FormatDefect) in
        guard members.updateValue(try json.value(), forKey: key) == nil else {
          throw FormatDefect(offset: offset, cause: "`\(printable(key))` is there twice")
        }
        offsets[key] = offset
      }
      try json.end()
    } catch {
      throw try file.explaining(error)
    }
    self.path = path
    self.members = members
    self.offsets = offsets
  }

  /// - Parameter path: of the file that `members` are of, or are to be, for errors.
  init(_ members: [String: JSONValue], path: String) {
    (self.path, self.members) = (path, members)
    offsets = [:]
  }

  /// A reader of the object `object`, which is the value of `key`.
  private init(_ key: String, _ object: [String: JSONValue], in reader: ConfigurationReader) {
    path = reader.path
    members = object
    offsets = object.mapValues { _ in reader.offsets[key] ?? 0 }
  }

  /// Members that nothing asked for.
  var rest: [String: JSONValue] { members.filter { !asked.contains($0.key) } }

  // MARK: Values

  /// - Parameters:
  ///   - others: other spellings of the key; two that differ are an error.
  ///   - standard: the value when there is no such key; nil when there must be one.
  mutating func integer(
    _ key: String, _ others: String..., default standard: Int?, in range: ClosedRange<Int>
  ) throws(InterchangeError) -> Int {
    let (key, value) = try take([key] + others)
    guard
      let value = try value.map({ (value) throws(InterchangeError) in
        try integer(key, value, in: range)
      }) ?? standard
    else { throw malformed(key, "is missing") }
    return value
  }

  /// nil for `null`.
  mutating func integerOrNull(
    _ key: String, default standard: Int?, in range: ClosedRange<Int>
  ) throws(InterchangeError) -> Int? {
    let (key, value) = try take([key])
    guard let value else { return standard }
    return value == .null ? nil : try integer(key, value, in: range)
  }

  mutating func integers(
    _ key: String, in range: ClosedRange<Int>
  ) throws(InterchangeError) -> [Int] {
    let (key, value) = try take([key])
    guard case .array(let values) = value ?? .null else {
      guard value ?? .null == .null else { throw wrong(key, value, "an array of numbers") }
      return []
    }
    var numbers: [Int] = []
    for value in values { numbers.append(try integer(key, value, in: range)) }
    return numbers
  }

  mutating func number(
    _ key: String, default standard: Double?, in range: ClosedRange<Double>
  ) throws(InterchangeError) -> Double {
    let (key, value) = try take([key])
    guard
      let value = try value.map({ (value) throws(InterchangeError) in
        try number(key, value, in: range)
      }) ?? standard
    else { throw malformed(key, "is missing") }
    return value
  }

  mutating func numberOrNull(
    _ key: String, in range: ClosedRange<Double>
  ) throws(InterchangeError) -> Double? {
    let (key, value) = try take([key])
    guard let value, value != .null else { return nil }
    return try number(key, value, in: range)
  }

  mutating func flag(_ key: String, default standard: Bool) throws(InterchangeError) -> Bool {
    let (key, value) = try take([key])
    guard let value else { return standard }
    guard case .bool(let flag) = value else { throw wrong(key, value, "true or false") }
    return flag
  }

  /// One of the raw values of `Choice`.
  mutating func choice<Choice: RawRepresentable<String> & CaseIterable>(
    _ key: String, default standard: Choice
  ) throws(InterchangeError) -> Choice {
    let (key, value) = try take([key])
    guard let value else { return standard }
    guard case .string(let text) = value, let choice = Choice(rawValue: text) else {
      let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
      throw unsupported(key, "is \(value.text)", "known are \(known)")
    }
    return choice
  }

  /// A type by PyTorch's name; nil without the key or with `null`.
  mutating func type(
    _ key: String, among known: [ElementType] = [.f32, .f16, .bf16, .f64]
  ) throws(InterchangeError) -> ElementType? {
    let (key, value) = try take([key])
    guard let value, value != .null else { return nil }
    guard case .string(let text) = value, let type = ElementType(torchName: text),
      known.contains(type)
    else {
      let names = known.map(\.torchName).joined(separator: ", ")
      throw unsupported(key, "is \(value.text)", "known are \(names)")
    }
    return type
  }

  mutating func string(_ key: String) throws(InterchangeError) -> String? {
    let (key, value) = try take([key])
    guard let value, value != .null else { return nil }
    guard case .string(let text) = value else { throw wrong(key, value, "a string") }
    return text
  }

  mutating func strings(_ key: String) throws(InterchangeError) -> [String] {
    let (key, value) = try take([key])
    guard let value, value != .null else { return [] }
    guard case .array(let values) = value else { throw wrong(key, value, "an array of strings") }
    var strings: [String] = []
    for value in values {
      guard case .string(let text) = value else { throw wrong(key, value, "a string") }
      strings.append(text)
    }
    return strings
  }

  /// A token, or several; none for `null`. The default is not held against the vocabulary, of which
  /// it knows nothing.
  mutating func tokens(
    _ key: String, default standard: Int?, vocabulary: Int
  ) throws(InterchangeError) -> [Int] {
    guard case .array = members[key] else {
      let token = try integerOrNull(key, default: standard, in: 0...vocabulary - 1)
      return token.map { [$0] } ?? []
    }
    return try integers(key, in: 0...vocabulary - 1)
  }

  /// The first of the keys that has an object.
  mutating func object(_ keys: String...) throws(InterchangeError) -> ConfigurationReader? {
    var found: ConfigurationReader?
    for key in keys {
      let (key, value) = try take([key])
      guard let value, value != .null else { continue }
      guard case .object(let members) = value else { throw wrong(key, value, "an object") }
      found = found ?? ConfigurationReader(key, members, in: self)
    }
    return found
  }

  // MARK: Errors

  func malformed(_ key: String, _ cause: String) -> InterchangeError {
    .malformed(path: path, offset: offsets[key] ?? 0, cause: "`\(printable(key))` \(cause)")
  }

  func unsupported(_ key: String, _ cause: String, _ remedy: String) -> InterchangeError {
    .unsupported(
      path: path, offset: offsets[key] ?? 0, cause: "`\(printable(key))` \(cause)", remedy: remedy)
  }

  /// - Throws: when `isDivisor` times something is not `value`.
  func check(
    _ key: String, _ value: Int, isMultipleOf divisor: Int, _ divisorKey: String
  ) throws(InterchangeError) {
    guard value.isMultiple(of: divisor) else {
      throw malformed(key, "is \(value), no multiple of the \(divisor) of `\(divisorKey)`")
    }
  }

  private func wrong(_ key: String, _ value: JSONValue?, _ wanted: String) -> InterchangeError {
    malformed(key, "is \((value ?? .null).text), not \(wanted)")
  }

  private func integer(
    _ key: String, _ value: JSONValue, in range: ClosedRange<Int>
  ) throws(InterchangeError) -> Int {
    guard case .integer(let integer) = value, range.contains(integer) else {
      throw wrong(key, value, "an integer from \(range.lowerBound) to \(range.upperBound)")
    }
    return integer
  }

  private func number(
    _ key: String, _ value: JSONValue, in range: ClosedRange<Double>
  ) throws(InterchangeError) -> Double {
    switch value {
    case .number(let number) where range.contains(number): return number
    case .integer(let integer) where range.contains(Double(integer)): return Double(integer)
    default:
      throw wrong(key, value, "a number from \(range.lowerBound) to \(range.upperBound)")
    }
  }

  /// The value under any of the spellings of a key, and the spelling.
  private mutating func take(
    _ keys: [String]
  ) throws(InterchangeError) -> (key: String, value: JSONValue?) {
    asked.formUnion(keys)
    let present = keys.filter { members[$0] != nil }
    for key in present.dropFirst() where members[key] != members[present[0]] {
      throw malformed(
        key,
        "is \(members[key]?.text ?? ""), but `\(present[0])` is "
          + "\(members[present[0]]?.text ?? "")")
    }
    return (present.first ?? keys[0], present.first.flatMap { members[$0] })
  }
}
