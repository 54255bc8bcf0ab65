import Glibc
package import Kernels

/// A learned bias of attention scores by head and distance (Raffel et al., "Exploring the limits of
/// transfer learning", 2020): distances fall into buckets, exact ones near by, then growing with
/// the logarithm up to `distanceOfLastBucket`, which all longer ones share.
///
/// The table is [buckets, heads]. What attention adds is spread out by distance beforehand:
/// `expand` after each change of the table. Copies share that memory.
package struct RelativePositionBias: Sendable {
  package let heads: Int
  package let buckets: Int
  /// Keys of a sequence; distances are below.
  package let distanceMax: Int
  /// The bucket of key - query = index - (distanceMax - 1).
  private let bucketOfDistance: [Int32]
  /// The bias by head and index as above, [heads, 2 distanceMax - 1].
  private let spread: Matrix

  /// - Parameters:
  ///   - isBidirectional: whether keys after the query have buckets of their own, half of them all;
  ///     otherwise they share that of distance 0.
  ///   - keysMax: the keys of the longest sequence.
  package init(
    heads: Int, buckets: Int = 32, distanceOfLastBucket: Int = 128, isBidirectional: Bool,
    keysMax: Int
  ) {
    precondition(heads > 0, "at least one head")
    precondition(keysMax > 0, "a longest sequence")
    let exact = buckets / (isBidirectional ? 4 : 2)
    precondition(exact > 0, "a bucket for distance 0 and one for the others, each way")
    precondition(distanceOfLastBucket > exact, "a last bucket beyond those of single distances")
    (self.heads, self.buckets, distanceMax) = (heads, buckets, keysMax)
    bucketOfDistance = (1 - keysMax..<keysMax).map {
      Int32(
        Self.bucket(
          $0, buckets: buckets, last: distanceOfLastBucket, isBidirectional: isBidirectional))
    }
    spread = Matrix(rows: heads, columns: 2 * keysMax - 1)
  }

  /// Bytes that `init` allocates.
  package static func byteCount(heads: Int, keysMax: Int) -> Int {
    (heads + 1) * (2 * keysMax - 1) * MemoryLayout<Float>.stride
  }

  /// The bucket of a key `distance` after the query, or before it if negative. In Float, as the
  /// models were trained: a distance whose logarithm falls on a bucket's edge must not change
  /// sides.
  package static func bucket(
    _ distance: Int, buckets: Int, last: Int, isBidirectional: Bool
  ) -> Int {
    let count = isBidirectional ? buckets / 2 : buckets
    let first = isBidirectional && distance > 0 ? count : 0
    let length = isBidirectional ? abs(distance) : max(0, -distance)
    let exact = count / 2
    guard length >= exact else { return first + length }
    let share = logf(Float(length) / Float(exact)) / Float(log(Double(last) / Double(exact)))
    return first + min(count - 1, exact + Int(share * Float(count - exact)))
  }

  /// Reads the table, [buckets, heads].
  package func expand(_ table: Matrix) {
    precondition(table.rows == buckets && table.columns == heads, "the table is [buckets, heads]")
    for head in 0..<heads {
      let row = spread.row(head)
      for index in 0..<row.count { row[index] = table[Int(bucketOfDistance[index]), head] }
    }
  }

  /// scores[j] += the bias of key j for the query at position `query`.
  func add(head: Int, query: Int, to scores: borrowing Row) {
    let first = distanceMax - 1 - query
    let row = spread.row(head)
    axpy(1, row.part(first..<first + scores.count), scores)
  }

  /// dbuckets [1, buckets] += the gradients ds [queries, keys] of the scores of some queries, the
  /// first of them at position `firstQuery`: summed by distance, then by bucket.
  ///
  /// - Parameter scratch: rows + columns - 1 floats of it are overwritten.
  func add(_ ds: Matrix, firstQuery: Int, to dbuckets: Matrix, scratch: Matrix) {
    let count = ds.rows + ds.columns - 1
    let sums = Matrix(
      buffer: scratch.buffer, offset: scratch.offset, rows: 1, columns: count, stride: count)
    sums.fill(0)
    let diagonal = sums.row(0)
    for i in 0..<ds.rows {
      let first = ds.rows - 1 - i
      axpy(1, ds.row(i), diagonal.part(first..<first + ds.columns))
    }
    let nearest = distanceMax - 1 - firstQuery - (ds.rows - 1)
    for index in 0..<count {
      dbuckets[0, Int(bucketOfDistance[nearest + index])] += diagonal[index]
    }
  }

  /// dtable [buckets, heads] += the sums of all tasks, [spans * heads, buckets], in order.
  func add(_ dbuckets: Matrix, to dtable: Matrix) {
    precondition(dtable.rows == buckets && dtable.columns == heads, "dtable is [buckets, heads]")
    for task in 0..<dbuckets.rows {
      for bucket in 0..<buckets { dtable[bucket, task % heads] += dbuckets[task, bucket] }
    }
  }
}
