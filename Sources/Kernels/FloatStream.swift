import Glibc

/// Floats in somebody else's memory, with the loops that measure it: copy, triad and sum, which do
/// nothing but move them. A view like `Matrix`; copies of it share the floats.
///
/// Each loop is split over the workers in pieces of one size, so that a slow core takes fewer.
///
/// @unchecked Sendable: the owner keeps the memory and sees to it that one loop at a time writes it.
@safe package struct FloatStream: @unchecked Sendable {
  private let base: UnsafeMutablePointer<Float>
  package let count: Int

  /// 1 MiB of floats.
  private static let floatsPerTask = 1 << 18

  /// - Parameter bytes: aligned for floats, and owned longer than this lives.
  @unsafe package init(_ bytes: UnsafeMutableRawBufferPointer) {
    count = bytes.count / MemoryLayout<Float>.stride
    precondition(count > 0, "a stream has floats")
    unsafe base = bytes.baseAddress!.assumingMemoryBound(to: Float.self)
  }

  package func part(_ range: Range<Int>) -> FloatStream {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "a part lies inside")
    return unsafe FloatStream(
      UnsafeMutableRawBufferPointer(
        UnsafeMutableBufferPointer(start: base + range.lowerBound, count: range.count)))
  }

  package func fill(_ value: Float, on workers: Workers) {
    forEachPiece(on: workers) { range in
      unsafe (base + range.lowerBound).update(repeating: value, count: range.count)
    }
  }

  /// Overwrites this with `source`, as plain loops do: stores go through the caches.
  package func copy(from source: FloatStream, on workers: Workers) {
    precondition(source.count == count, "as many floats")
    forEachPiece(on: workers) { range in
      copyPiece(source.span(range), into: mutableSpan(range))
    }
  }

  /// The same by the C library's memcpy, which chooses its stores itself.
  package func memcpy(from source: FloatStream, on workers: Workers) {
    precondition(source.count == count, "as many floats")
    forEachPiece(on: workers) { range in
      unsafe _ = Glibc.memcpy(
        base + range.lowerBound, source.base + range.lowerBound,
        range.count * MemoryLayout<Float>.stride)
    }
  }

  /// Overwrites this with b + scale c.
  package func triad(_ b: FloatStream, _ c: FloatStream, scale: Float, on workers: Workers) {
    precondition(b.count == count && c.count == count, "as many floats")
    forEachPiece(on: workers) { range in
      triadPiece(b.span(range), c.span(range), scale, into: mutableSpan(range))
    }
  }

  /// The sum of all floats. The same for any number of workers.
  package func sum(on workers: Workers) -> Double {
    var sums = [Double](repeating: 0, count: (count + Self.floatsPerTask - 1) / Self.floatsPerTask)
    var span = sums.mutableSpan
    let pieces = Fence(&span)
    forEachPiece(on: workers) { range in
      let piece = range.lowerBound / Self.floatsPerTask
      var sum = pieces.mutable(piece..<piece + 1)
      sum[0] = sumPiece(self.span(range))
    }
    return sums.reduce(0, +)
  }

  private func forEachPiece(on workers: Workers, _ body: @Sendable (Range<Int>) -> Void) {
    workers.forEachChunk(of: count, size: Self.floatsPerTask, body)
  }

  @_lifetime(immortal)
  private func span(_ range: Range<Int>) -> Span<Float> {
    let span = unsafe Span(_unsafeStart: base + range.lowerBound, count: range.count)
    return unsafe _overrideLifetime(span, borrowing: ())
  }

  @_lifetime(immortal)
  private func mutableSpan(_ range: Range<Int>) -> MutableSpan<Float> {
    let span = unsafe MutableSpan(_unsafeStart: base + range.lowerBound, count: range.count)
    return unsafe _overrideLifetime(span, borrowing: ())
  }
}

private func copyPiece(_ source: Span<Float>, into target: consuming MutableSpan<Float>) {
  for i in source.indices { target[i] = source[i] }
}

private func triadPiece(
  _ b: Span<Float>, _ c: Span<Float>, _ scale: Float, into a: consuming MutableSpan<Float>
) {
  precondition(b.count == a.count && c.count == a.count, "as many floats")
  for i in b.indices { a[i] = b[i].addingProduct(scale, c[i]) }
}

/// Four sums of eight lanes: enough to keep the adders out of the way of the loads.
private func sumPiece(_ source: Span<Float>) -> Double {
  var (s0, s1, s2, s3) = (
    SIMD8<Float>.zero, SIMD8<Float>.zero, SIMD8<Float>.zero, SIMD8<Float>.zero
  )
  let blocks = source.count / 32
  unsafe source.withUnsafeBytes { bytes in
    for block in 0..<blocks {
      let at = block &* 128
      unsafe s0 += bytes.loadUnaligned(fromByteOffset: at, as: SIMD8<Float>.self)
      unsafe s1 += bytes.loadUnaligned(fromByteOffset: at &+ 32, as: SIMD8<Float>.self)
      unsafe s2 += bytes.loadUnaligned(fromByteOffset: at &+ 64, as: SIMD8<Float>.self)
      unsafe s3 += bytes.loadUnaligned(fromByteOffset: at &+ 96, as: SIMD8<Float>.self)
    }
  }
  var sum = Double(((s0 + s1) + (s2 + s3)).sum())
  for i in blocks * 32..<source.count { sum += Double(source[i]) }
  return sum
}
