/// A digest of one row of the manifest, over its table and all its values: SQLite notices damage to
/// the structure of its file, not to the numbers in it.
///
/// The digests of all rows, added up, are the seal of the manifest, which also notices rows that
/// are missing or too many. Addition, so that a transaction need not look at rows it leaves alone.
package struct RowDigest: Hashable, Sendable {
  private(set) var value: UInt64 = 0

  package init(_ table: String, _ numbers: [Int64], _ bytes: [UInt8] = []) {
    var content = Array(table.utf8)
    content.reserveCapacity(content.count + 8 * numbers.count + bytes.count)
    for number in numbers {
      unsafe withUnsafeBytes(of: number.littleEndian) { unsafe content.append(contentsOf: $0) }
    }
    content += bytes
    value = checksum(of: content)
  }

  init(stored: Int64) { value = UInt64(bitPattern: stored) }
  private init(value: UInt64) { self.value = value }

  /// The seal of no rows.
  package static let none = RowDigest(value: 0)
  package var stored: Int64 { Int64(bitPattern: value) }

  package static func += (sum: inout RowDigest, row: RowDigest) { sum.value &+= row.value }
  package static func -= (sum: inout RowDigest, row: RowDigest) { sum.value &-= row.value }
}
