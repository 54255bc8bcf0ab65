import Interchange
import Kernels
import Models

/// Reads tensors of an export into the layout of the model, a few rows at a time.
struct TensorSource: ~Copyable {
  private let folders: [String: SafetensorsFolder]
  private let shape: ZcodeShape
  /// Rows of a tensor that is to be transposed, together: a cache line of what it becomes.
  private static let rowsAtOnce = 16

  init(_ folders: [String: SafetensorsFolder], _ shape: ZcodeShape) {
    self.folders = folders
    self.shape = shape
  }

  /// A tensor of the dense part, in its place in `dense`.
  func read(
    _ tensor: DenseTensor, _ state: ParameterState, into dense: DenseParameters
  ) throws {
    let target = dense.vector(state).matrix(
      rows: tensor.rows.count, columns: tensor.slot.columns, offset: tensor.range.lowerBound)
    let name = tensor.name + state.suffix
    if tensor.isTransposed {
      try readTransposed(name, state, columns: 0..<target.rows, of: target.rows, into: target)
    } else {
      try read(name, state, rows: 0..<target.rows, columns: 0..<target.columns, into: target)
    }
  }

  /// One slice of an expert: W1, then W2 transposed.
  func read(
    _ expert: ExpertTensors, slice: Int, _ state: ParameterState, into block: FloatBuffer
  ) throws {
    let (hidden, width) = (shape.sliceHidden, shape.width)
    let units = slice * hidden..<(slice + 1) * hidden
    try read(
      expert.first + state.suffix, state, rows: units, columns: 0..<width,
      into: block.matrix(rows: hidden, columns: width))
    try readTransposed(
      expert.second + state.suffix, state, columns: units, of: shape.hidden,
      into: block.matrix(rows: hidden, columns: width, offset: hidden * width))
  }

  /// target[j, i] = tensor[i, columns[j]], of a tensor with `count` columns.
  private func readTransposed(
    _ name: String, _ state: ParameterState, columns: Range<Int>, of count: Int,
    into target: Matrix
  ) throws {
    let piece = Matrix(rows: Self.rowsAtOnce, columns: columns.count)
    for first in stride(from: 0, to: target.columns, by: Self.rowsAtOnce) {
      let rows = first..<min(first + Self.rowsAtOnce, target.columns)
      let part = piece.rows(0..<rows.count)
      try read(name, state, rows: rows, columns: columns, of: count, into: part)
      transpose(part, into: target.columns(rows))
    }
  }

  /// target[i, j] = tensor[rows[i], columns[j]], of a tensor with `count` columns; as many as
  /// `target` when nil.
  /// - Throws: `ExchangeError.wrongTensor` for a number that is not finite.
  private func read(
    _ name: String, _ state: ParameterState, rows: Range<Int>, columns: Range<Int>,
    of count: Int? = nil, into target: Matrix
  ) throws {
    guard let folder = folders[state.stem] else { preconditionFailure("a folder for each stem") }
    let stride = MemoryLayout<Float>.stride
    var floats = [Float](repeating: 0, count: columns.count)
    for row in rows {
      let first = row * (count ?? target.columns) + columns.lowerBound
      var span = floats.mutableSpan
      var bytes = unsafe span.mutableBytes
      try folder.read(name, from: first * stride, into: &bytes)
      let line = target.row(row - rows.lowerBound)
      var isFinite = true
      for j in 0..<line.count {
        line[j] = floats[j]
        isFinite = isFinite && floats[j].isFinite
      }
      guard isFinite else {
        throw ExchangeError.wrongTensor(
          path: folder.path(of: name) ?? "", name: name,
          cause: "has a number in row \(row) that is not finite")
      }
    }
  }
}
