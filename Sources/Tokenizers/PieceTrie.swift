/// Byte strings by their prefixes. Nodes are numbered breadth first, so that the children of one
/// are neighbours, sorted by their byte.
///
///     node      0    1 2   3 4 5       root, its children, theirs
///     label     -    a b   n t o
///     children  1..<3  3..<5  5..<6 ...
struct PieceTrie: Sendable {
  private var labels: [UInt8] = [0]
  /// `firstChild[n]..<firstChild[n + 1]` are the children of n.
  private var firstChild: [Int32] = []
  private var values: [Int32] = [-1]
  /// Of each byte, the root's child, or -1.
  private var rootChild = [Int32](repeating: -1, count: 256)

  /// - Parameter pieces: not empty, of values from 0 on; of equal ones the last counts.
  init(_ pieces: [(bytes: [UInt8], value: Int32)]) {
    let sorted = pieces.enumerated().sorted {
      $0.element.bytes == $1.element.bytes
        ? $0.offset < $1.offset
        : $0.element.bytes.lexicographicallyPrecedes($1.element.bytes)
    }.map(\.element)
    var ranges = [0..<sorted.count]
    var depths = [0]
    var node = 0
    while node < ranges.count {
      firstChild.append(Int32(ranges.count))
      var (index, end, depth) = (ranges[node].lowerBound, ranges[node].upperBound, depths[node])
      while index < end, sorted[index].bytes.count == depth {
        values[node] = sorted[index].value
        index += 1
      }
      while index < end {
        let start = index
        let byte = sorted[start].bytes[depth]
        while index < end, sorted[index].bytes[depth] == byte { index += 1 }
        if node == 0 { rootChild[Int(byte)] = Int32(ranges.count) }
        labels.append(byte)
        values.append(-1)
        ranges.append(start..<index)
        depths.append(depth + 1)
      }
      node += 1
    }
    firstChild.append(Int32(ranges.count))
    values[0] = -1
  }

  /// Whether some piece begins with `byte`.
  func begins(with byte: UInt8) -> Bool { rootChild[Int(byte)] >= 0 }

  /// Calls `found` with the end and the value of each piece that begins at `start`, short ones
  /// first.
  func prefixes(
    of bytes: [UInt8], from start: Int, to end: Int, found: (_ end: Int, _ value: Int32) -> Void
  ) {
    guard start < end else { return }
    var node = rootChild[Int(bytes[start])]
    var index = start + 1
    while node >= 0 {
      let value = values[Int(node)]
      if value >= 0 { found(index, value) }
      guard index < end else { return }
      node = child(of: node, bytes[index])
      index += 1
    }
  }

  private func child(of node: Int32, _ byte: UInt8) -> Int32 {
    var (low, high) = (firstChild[Int(node)], firstChild[Int(node) + 1])
    while low < high {
      let middle = low + (high - low) / 2
      let label = labels[Int(middle)]
      if label == byte { return middle }
      if label < byte { low = middle + 1 } else { high = middle }
    }
    return -1
  }
}
