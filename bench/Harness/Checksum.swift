package import Kernels

/// FNV-1a over 64-bit words: a short name for what a benchmark computed, which says whether two runs
/// computed the same, and keeps the compiler from computing nothing.
package struct Checksum: Hashable, Sendable {
  package private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

  package init() {}

  package init(_ words: some Sequence<UInt64>) {
    for word in words { add(word) }
  }

  package mutating func add(_ word: UInt64) {
    value = (value ^ word) &* 0x100_0000_01b3
  }

  package mutating func add(_ number: Double) { add(number.bitPattern) }

  /// The bits of all floats, in order.
  package mutating func add(_ floats: Span<Float>) {
    for i in floats.indices { add(UInt64(floats[i].bitPattern)) }
  }

  /// The bits of all floats, row by row.
  package mutating func add(_ matrix: Matrix) {
    for i in 0..<matrix.rows {
      let row = matrix.row(i)
      for j in 0..<row.count { add(UInt64(row[j].bitPattern)) }
    }
  }

  /// Sixteen hexadecimal digits.
  package var text: String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
