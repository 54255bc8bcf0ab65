import Interchange
import Kernels
import Models

/// Reads tensors of an export into the layout of the model, a few rows at a time.
struct TensorSource: ~Copyable {
  private let folders: [String: CheckpointFolder]
  /// The files' name of each tensor that has another there.
  private let renamed: [String: String]
  private let shape: ExpertShape
  /// Rows of a tensor that is to be transposed, together: a cache line of what it becomes.
  private static let rowsAtOnce = 16
  /// Of whole rows that are read together: 64 KiB.
  private static let floatsAtOnce = 1 << 14

  init(
    _ folders: [String: CheckpointFolder], renamed: [String: String] = [:], _ shape: ExpertShape
  ) {
    self.folders = folders
    self.renamed = renamed
    self.shape = shape
  }

  /// What a tensor of the dense part has of `range` of the vector of dense parameters, in its place in
  /// `floats`, which has all of the range.
  func read(
    _ tensor: DenseTensor, _ state: ParameterState, _ range: Range<Int>, into floats: FloatBuffer
  ) throws {
    let name = tensor.name + state.suffix
    for area in tensor.areas(in: range) {
      let target = floats.matrix(
        rows: area.rows.count, columns: area.columns.count,
        offset: tensor.offset(of: area) - range.lowerBound)
      if tensor.isTransposed {
        try readTransposed(name, state, rows: area.columns, columns: area.rows, into: target)
      } else {
        try read(name, state, rows: area.rows, columns: area.columns, into: target)
      }
    }
  }

  /// One slice of an expert, as `ExpertShape` lays it out; units that the files do not have are zero.
  func read(
    _ expert: ExpertTensors, slice: Int, _ state: ParameterState, into block: FloatBuffer
  ) throws {
    let names = expert.names
    let units = shape.units(of: slice, names)
    if units.count < shape.sliceHidden { block.matrix(rows: 1, columns: block.count).fill(0) }
    let (columns, own) = (0..<shape.width, 0..<units.count)
    try read(
      names.first + state.suffix, state, rows: units, columns: columns,
      into: shape.matrix(0, of: block).rows(own))
    try readTransposed(
      names.second + state.suffix, state, rows: columns, columns: units,
      into: shape.matrix(1, of: block).rows(own))
    if let third = names.third {
      try read(
        third + state.suffix, state, rows: units, columns: columns,
        into: shape.matrix(2, of: block).rows(own))
    }
    if !units.isEmpty, let name = names.firstBias, let bias = shape.firstBias(of: block) {
      try read(name + state.suffix, state, rows: 0..<1, columns: units, into: bias.columns(own))
    }
    if let name = names.secondBias, let bias = shape.secondBias(of: block) {
      bias.fill(0)
      if slice == 0 {
        try read(name + state.suffix, state, rows: 0..<1, columns: columns, into: bias)
      }
    }
  }

  /// target[j, i] = tensor[rows[i], columns[j]].
  private func readTransposed(
    _ name: String, _ state: ParameterState, rows: Range<Int>, columns: Range<Int>,
    into target: Matrix
  ) throws {
    guard !columns.isEmpty else { return }
    let piece = Matrix(rows: Self.rowsAtOnce, columns: columns.count)
    for first in stride(from: 0, to: rows.count, by: Self.rowsAtOnce) {
      let some = first..<min(first + Self.rowsAtOnce, rows.count)
      let part = piece.rows(0..<some.count)
      let start = rows.lowerBound + first
      try read(name, state, rows: start..<start + some.count, columns: columns, into: part)
      transpose(part, into: target.columns(some))
    }
  }

  /// target[i, j] = tensor[rows[i], columns[j]].
  /// - Throws: `ExchangeError.wrongTensor` for a number that is not finite.
  private func read(
    _ name: String, _ state: ParameterState, rows: Range<Int>, columns: Range<Int>,
    into target: Matrix
  ) throws {
    guard let folder = folders[state.stem] else { preconditionFailure("a folder for each stem") }
    let name = renamed[name] ?? name
    let atOnce = min(rows.count, max(1, Self.floatsAtOnce / max(1, columns.count)))
    var floats = [Float](repeating: 0, count: atOnce * columns.count)
    for first in stride(from: rows.lowerBound, to: rows.upperBound, by: max(1, atOnce)) {
      let some = first..<min(first + atOnce, rows.upperBound)
      var span = floats.mutableSpan
      var part = span._mutatingExtracting(0..<some.count * columns.count)
      try folder.read(name, rows: some, columns: columns, into: &part)
      for row in some {
        let line = target.row(row - rows.lowerBound)
        guard copyFinite(floats.span, from: (row - first) * columns.count, into: line) else {
          throw ExchangeError.wrongTensor(
            path: folder.path(of: name) ?? "", name: name,
            cause: "has a number in row \(row) that is not finite")
        }
      }
    }
  }
}

/// Copies a row.
/// - Returns: whether all of it is finite.
private func copyFinite(_ floats: Span<Float>, from start: Int, into line: borrowing Row) -> Bool {
  // Of all magnitudes as bits, the largest: comparing them takes no branch.
  var largest: UInt32 = 0
  for j in 0..<line.count {
    let float = floats[start &+ j]
    line[j] = float
    largest = max(largest, float.bitPattern & 0x7FFF_FFFF)
  }
  return largest < Float.infinity.bitPattern
}
