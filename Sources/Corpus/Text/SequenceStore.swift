/// Token sequences of any length back to back, in chunks: growing copies nothing, so that reading a
/// file takes no more than what is held in the end.
struct SequenceStore: Sendable {
  private struct Chunk: Sendable {
    /// The number of its first sequence.
    let first: Int
    var tokens: [Int32] = []
    /// Where each sequence begins; it ends where the next one does, or with the chunk.
    var starts: [UInt32] = []

    var bytes: Int { 4 * (tokens.capacity + starts.capacity) }
  }

  private var chunks: [Chunk] = []
  private var closedBytes = 0
  private(set) var count = 0
  private(set) var tokenCount = 0

  static let chunkTokens = 1 << 18

  /// Bytes that are held now.
  var residentBytes: Int { closedBytes + (chunks.last?.bytes ?? 0) }

  mutating func append(_ tokens: some Collection<Int32>) {
    if let last = chunks.last, last.tokens.count + tokens.count > Self.chunkTokens {
      close()
      closedBytes += chunks.last?.bytes ?? 0
      chunks.append(Chunk(first: count))
    }
    if chunks.isEmpty { chunks.append(Chunk(first: 0)) }
    let chunk = chunks.count - 1
    chunks[chunk].starts.append(UInt32(chunks[chunk].tokens.count))
    chunks[chunk].tokens.append(contentsOf: tokens)
    count += 1
    tokenCount += tokens.count
  }

  /// Gives back what growing has taken in advance.
  mutating func close() {
    guard let last = chunks.popLast() else { return }
    var closed = Chunk(first: last.first)
    closed.tokens.reserveCapacity(last.tokens.count)
    closed.tokens += last.tokens
    closed.starts.reserveCapacity(last.starts.count)
    closed.starts += last.starts
    chunks.append(closed)
  }

  subscript(_ sequence: Int) -> ArraySlice<Int32> {
    let (chunk, range) = place(sequence)
    return chunks[chunk].tokens[range]
  }

  func tokenCount(of sequence: Int) -> Int { place(sequence).range.count }

  private func place(_ sequence: Int) -> (chunk: Int, range: Range<Int>) {
    precondition(0 <= sequence && sequence < count, "a sequence of this store")
    var (low, high) = (0, chunks.count - 1)
    while low < high {
      let middle = (low + high + 1) / 2
      if chunks[middle].first <= sequence { low = middle } else { high = middle - 1 }
    }
    let starts = chunks[low].starts
    let index = sequence - chunks[low].first
    let end = index + 1 < starts.count ? Int(starts[index + 1]) : chunks[low].tokens.count
    return (low, Int(starts[index])..<end)
  }
}
