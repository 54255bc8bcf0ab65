import BenchHarness
import CStreaming
import Kernels

/// Loops that do nothing but move memory: what a memory-bound kernel can reach.
enum StreamCeiling {
  /// 1 MiB of floats.
  private static let floatsPerTask = 1 << 18

  /// Triad a = b + s c with both kinds of stores, and a += s b in place, each over about `bytes`
  /// bytes of memory. Rates are GB/s, counted as STREAM does.
  static func all(bytes: Int, on workers: Workers) -> [Entrant] {
    let count = max(1 << 10, bytes / 3 / MemoryLayout<Float>.stride / 8 * 8)
    let arrays = (0..<3).map { _ in Vector<Float>(count: count) }
    for (index, array) in arrays.enumerated() {
      fill(array, seed: UInt32(index + 5), scale: 1, on: workers)
    }
    func entrant(_ name: String, _ arraysMoved: Int, _ loop: @escaping () -> Void) -> Entrant {
      Entrant(name) {
        let time = seconds(loop)
        return Outcome(
          rate: Double(arraysMoved * count * MemoryLayout<Float>.stride) / time / 1e9,
          checksum: checksum(arrays[0]))
      }
    }
    return [
      entrant("triad, plain stores", 3) { plain(arrays, workers) },
      entrant("triad, streaming stores", 3) { streaming(arrays, workers) },
      entrant("update in place", 3) { inPlace(arrays, workers) },
    ]
  }

  private static func plain(_ arrays: [Vector<Float>], _ workers: Workers) {
    unsafe FloatStream(arrays[0].bytes).triad(
      FloatStream(arrays[1].bytes), FloatStream(arrays[2].bytes), scale: 3, on: workers)
  }

  private static func streaming(_ arrays: [Vector<Float>], _ workers: Workers) {
    workers.forEachChunk(of: arrays[0].count, size: floatsPerTask) { range in
      let starts = unsafe arrays.map {
        unsafe $0.bytes.baseAddress!.assumingMemoryBound(to: Float.self) + range.lowerBound
      }
      unsafe streaming_triad(starts[0], starts[1], starts[2], 3, range.count)
    }
  }

  private static func inPlace(_ arrays: [Vector<Float>], _ workers: Workers) {
    let (target, source) = (arrays[0], arrays[1])
    var span = target.mutableSpan
    let (a, b) = (Fence(&span), Fence(source.span))
    workers.forEachChunk(of: target.count, size: floatsPerTask) { range in
      var a = a.mutable(range)
      addScaled(b.span(range), 0.5, to: &a)
    }
  }

  private static func addScaled(
    _ b: Span<Float>, _ scale: Float, to a: inout MutableSpan<Float>
  ) {
    for i in b.indices { a[i] = a[i].addingProduct(scale, b[i]) }
  }

  /// Of one float in 4096: the loops are simple, and reading everything would take longer than they.
  private static func checksum(_ array: Vector<Float>) -> Checksum {
    let span = array.span
    return Checksum(
      stride(from: 0, to: span.count, by: 4096).map { UInt64(span[$0].bitPattern) })
  }
}
