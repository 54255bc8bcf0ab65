package import Kernels

/// Which blocks of a buffer have memory: what one lets go of, the next one takes, with its pages where
/// the two are a multiple of 2 MiB apart.
package struct BlockMemory {
  private var holders: Set<Range<Int>> = []
  /// Have memory and no use for it.
  private var spare: [Range<Int>] = []

  package init() {}

  /// Gives the block at `range` memory, unless it has some. Its floats are zeros if those were that the
  /// memory comes from.
  package mutating func give(
    to range: Range<Int>, of buffer: FloatBuffer, on workers: Workers
  ) {
    guard holders.insert(range).inserted else { return }
    if let own = spare.firstIndex(of: range) {
      spare.remove(at: own)
    } else if let last = spare.indices.last {
      let source = spare.remove(at: spare.lastIndex { buffer.alike(range, $0) } ?? last)
      buffer.populate(range, takingFrom: source, on: workers)
    } else {
      buffer.populate(range, on: workers)
    }
  }

  /// The block at `range` needs its memory no more; as long as no other takes it, its floats stay.
  package mutating func take(_ range: Range<Int>) {
    guard holders.remove(range) != nil else { return }
    spare.append(range)
  }
}
