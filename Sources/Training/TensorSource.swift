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

  init(
    _ folders: [String: CheckpointFolder], renamed: [String: String] = [:], _ shape: ExpertShape
  ) {
    self.folders = folders
    self.renamed = renamed
    self.shape = shape
  }

  /// A tensor of the dense part, in its place in `dense`.
  func read(
    _ tensor: DenseTensor, _ state: ParameterState, into dense: DenseParameters
  ) throws {
    let target = dense.vector(state).matrix(
      rows: tensor.rows, columns: tensor.columns, offset: tensor.range.lowerBound)
    let name = tensor.name + state.suffix
    if tensor.isTransposed {
      try readTransposed(name, state, columns: 0..<target.rows, into: target)
    } else {
      try read(name, state, rows: 0..<target.rows, columns: 0..<target.columns, into: target)
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
      names.second + state.suffix, state, columns: units,
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

  /// target[j, i] = tensor[i, columns[j]].
  private func readTransposed(
    _ name: String, _ state: ParameterState, columns: Range<Int>, into target: Matrix
  ) throws {
    guard !columns.isEmpty else { return }
    let piece = Matrix(rows: Self.rowsAtOnce, columns: columns.count)
    for first in stride(from: 0, to: target.columns, by: Self.rowsAtOnce) {
      let rows = first..<min(first + Self.rowsAtOnce, target.columns)
      let part = piece.rows(0..<rows.count)
      try read(name, state, rows: rows, columns: columns, into: part)
      transpose(part, into: target.columns(rows))
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
    var floats = [Float](repeating: 0, count: columns.count)
    for row in rows {
      var span = floats.mutableSpan
      try folder.read(name, rows: row..<row + 1, columns: columns, into: &span)
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
