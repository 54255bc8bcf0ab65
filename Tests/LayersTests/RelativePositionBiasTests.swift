import Kernels
import Layers
import TestSupport
import Testing

@Suite struct RelativePositionBiasTests {
  /// The distances at which the next bucket begins, as T5's definition in single precision gives
  /// them for 32 buckets up to 128.
  static let unidirectional: [(length: Int, bucket: Int)] = [
    (0, 0), (1, 1), (15, 15), (16, 16), (18, 16), (19, 17), (20, 17), (21, 18), (23, 18), (24, 19),
    (26, 19), (27, 20), (30, 20), (31, 21), (34, 21), (35, 22), (39, 22), (40, 23), (45, 23),
    (46, 24), (51, 24), (52, 25), (58, 25), (59, 26), (66, 26), (67, 27), (76, 27), (77, 28),
    (86, 28), (87, 29), (98, 29), (99, 30), (112, 30), (113, 31), (128, 31), (5000, 31),
  ]
  static let bidirectional: [(length: Int, bucket: Int)] = [
    (0, 0), (1, 1), (7, 7), (8, 8), (11, 8), (12, 9), (15, 9), (16, 10), (22, 10), (23, 11),
    (31, 11), (32, 12), (45, 12), (46, 13), (63, 13), (64, 14), (90, 14), (91, 15), (128, 15),
    (5000, 15),
  ]

  @Test func bucketsAreThoseOfT5() {
    for (length, bucket) in Self.unidirectional {
      #expect(
        RelativePositionBias.bucket(-length, buckets: 32, last: 128, isBidirectional: false)
          == bucket)
      #expect(
        RelativePositionBias.bucket(length, buckets: 32, last: 128, isBidirectional: false) == 0)
    }
    for (length, bucket) in Self.bidirectional {
      #expect(
        RelativePositionBias.bucket(-length, buckets: 32, last: 128, isBidirectional: true)
          == bucket)
      #expect(
        RelativePositionBias.bucket(length, buckets: 32, last: 128, isBidirectional: true)
          == bucket + (length > 0 ? 16 : 0))
    }
  }

  /// Goal: another table, another bias, at once: nothing of the old one is kept.
  @Test func expandsTheTableAtHand() {
    let attention = Attention(heads: 2, headWidth: 1, keysMax: 3, workers: .inline)
    let bias = RelativePositionBias(heads: 2, isBidirectional: false, keysMax: 3)
    let (q, k) = (Matrix(rows: 1, columns: 2), Matrix(rows: 3, columns: 2))
    let (v, context) = (Matrix(rows: 3, columns: 2), Matrix(rows: 1, columns: 2))
    v.assign([1, 1, 2, 2, 3, 3])
    let table = Matrix(rows: 32, columns: 2)
    for (near, head) in [(0, 0), (1, 0), (2, 1)] {
      table.fill(-100)
      table[near, head] = 0
      table[0, 1 - head] = 0
      bias.expand(table)
      attention.forward(
        q, k, v, spans: [AttentionSpan(queries: 0..<1, keys: 0..<3)], isCausal: true, bias: bias,
        into: context)
      #expect(context[0, head] == Float(3 - near))
      #expect(context[0, 1 - head] == 3)
    }
  }
}
