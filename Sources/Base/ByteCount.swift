/// A number of bytes, written and read the way people write sizes: `512MiB`, `4GiB`, `1.5e9`.
package struct ByteCount: Hashable, Comparable, Sendable {
  package var bytes: Int

  package init(_ bytes: Int) { self.bytes = bytes }

  package static func < (a: Self, b: Self) -> Bool { a.bytes < b.bytes }

  private static let units: [(suffix: String, factor: Double)] = [
    ("kib", 0x1p10), ("mib", 0x1p20), ("gib", 0x1p30), ("tib", 0x1p40),
    ("kb", 1e3), ("mb", 1e6), ("gb", 1e9), ("tb", 1e12), ("b", 1), ("", 1),
  ]

  /// Parses `512MiB`, `4GiB`, `200MB`, `1.5e9`; nil for anything else, for
  /// negative and for fractional bytes.
  package init?(parsing text: String) {
    let lower = text.lowercased().filter { $0 != " " && $0 != "_" }
    for (suffix, factor) in Self.units where lower.hasSuffix(suffix) {
      guard let number = Double(lower.dropLast(suffix.count)) else { continue }
      let bytes = (number * factor).rounded()
      guard number >= 0, bytes <= 0x1p62 else { return nil }
      self.init(Int(bytes))
      return
    }
    return nil
  }
}

extension ByteCount: CustomStringConvertible {
  /// Binary units with three significant digits: `1.13 GiB`, `512 MiB`, `17 B`.
  package var description: String {
    var value = Double(bytes)
    var unit = 0
    let names = ["B", "KiB", "MiB", "GiB", "TiB"]
    while abs(value) >= 1024, unit < names.count - 1 {
      value /= 1024
      unit += 1
    }
    let digits = value == value.rounded() || value >= 100 ? 0 : value >= 10 ? 1 : 2
    return "\(fixed(value, digits)) \(names[unit])"
  }
}

/// `value` with `digits` decimals, without locale.
package func fixed(_ value: Double, _ digits: Int) -> String {
  guard value.isFinite else { return "\(value)" }
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  let scaled = (abs(value) * scale).rounded()
  guard scaled < 0x1p62 else { return "\(value)" }
  let whole = Int(scaled) / Int(scale)
  let fraction = String(Int(scaled) % Int(scale))
  let sign = value < 0 && scaled > 0 ? "-" : ""
  if digits == 0 { return "\(sign)\(whole)" }
  return "\(sign)\(whole)." + String(repeating: "0", count: digits - fraction.count) + fraction
}

/// The least multiple of `unit` that is not below `value`.
@inlinable
package func roundUp(_ value: Int, to unit: Int) -> Int {
  precondition(unit > 0, "a positive unit")
  return (value + unit - 1) / unit * unit
}
