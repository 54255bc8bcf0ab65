/// A row-major view of floats: `rows` rows of `columns` floats, `stride` floats from row to row.
///
/// Reference semantics, like a NumPy view: copies of the view and sub-views share the floats, and
/// writing through a `let` view is fine. The view holds its buffer, and its bounds are checked
/// once, when it is made.
@safe @usableFromInline package struct Matrix: Sendable {
  @usableFromInline package let buffer: FloatBuffer
  @usableFromInline package let offset: Int
  @usableFromInline package let rows: Int
  @usableFromInline package let columns: Int
  @usableFromInline package let stride: Int

  package init(buffer: FloatBuffer, offset: Int, rows: Int, columns: Int, stride: Int) {
    precondition(rows >= 0, "rows are not negative")
    precondition(columns >= 0, "columns are not negative")
    precondition(offset >= 0, "offset is not negative")
    precondition(stride >= columns, "rows do not overlap")
    let end = rows == 0 || columns == 0 ? offset : offset + (rows - 1) * stride + columns
    precondition(end <= buffer.count, "the view ends inside its buffer")
    self.buffer = buffer
    self.offset = offset
    self.rows = rows
    self.columns = columns
    self.stride = stride
  }

  /// A matrix of zeros with a buffer of its own.
  package init(rows: Int, columns: Int) {
    self.init(
      buffer: FloatBuffer(count: rows * columns), offset: 0, rows: rows, columns: columns,
      stride: columns)
  }

  /// Where the first float lies. Only for kernels that call C.
  @inlinable
  @unsafe var pointer: UnsafeMutablePointer<Float> { unsafe buffer.base + offset }

  /// The floats of one row, borrowed from this view.
  @inlinable
  @_lifetime(borrow self)
  package func row(_ index: Int) -> Row {
    precondition(index >= 0 && index < rows, "row inside the matrix")
    let row = unsafe Row(base: pointer + index * stride, count: columns)
    return unsafe _overrideLifetime(row, borrowing: self)
  }

  @inlinable
  package subscript(row: Int, column: Int) -> Float {
    get {
      precondition(row >= 0 && row < rows, "row inside the matrix")
      precondition(column >= 0 && column < columns, "column inside the matrix")
      return unsafe pointer[row * stride + column]
    }
    nonmutating set {
      precondition(row >= 0 && row < rows, "row inside the matrix")
      precondition(column >= 0 && column < columns, "column inside the matrix")
      unsafe pointer[row * stride + column] = newValue
    }
  }
}

extension Matrix {
  /// The view of some rows.
  package func rows(_ range: Range<Int>) -> Matrix {
    precondition(range.lowerBound >= 0, "range starts inside the matrix")
    precondition(range.upperBound <= rows, "range ends inside the matrix")
    return Matrix(
      buffer: buffer, offset: offset + range.lowerBound * stride, rows: range.count,
      columns: columns, stride: stride)
  }

  /// The view of some columns.
  package func columns(_ range: Range<Int>) -> Matrix {
    precondition(range.lowerBound >= 0, "range starts inside the matrix")
    precondition(range.upperBound <= columns, "range ends inside the matrix")
    return Matrix(
      buffer: buffer, offset: offset + range.lowerBound, rows: rows, columns: range.count,
      stride: stride)
  }

  /// The same view for each of `workers`, by a buffer object of its own: making and dropping views counts
  /// references, and two threads that count at one place wait for each other.
  package func views(for workers: Workers) -> [Matrix] {
    (0..<workers.count).map { _ in
      Matrix(
        buffer: FloatBuffer(sharing: buffer), offset: offset, rows: rows, columns: columns,
        stride: stride)
    }
  }

  package func fill(_ value: Float) {
    for i in 0..<rows {
      let target = row(i)
      for j in 0..<target.count { target[j] = value }
    }
  }

  /// Overwrites this view with `source`, of the same shape.
  package func copy(from source: Matrix) {
    precondition(source.rows == rows, "as many rows")
    precondition(source.columns == columns, "as many columns")
    for i in 0..<rows {
      let (from, to) = (source.row(i), row(i))
      for j in 0..<to.count { to[j] = from[j] }
    }
  }

  /// The same with rows shared out.
  package func copy(from source: Matrix, on workers: Workers) {
    precondition(source.rows == rows, "as many rows")
    workers.forEachChunk(of: rows, size: Self.rowsPerTask) { chunk in
      rows(chunk).copy(from: source.rows(chunk))
    }
  }

  /// Makes all floats `value`, with rows shared out.
  package func fill(_ value: Float, on workers: Workers) {
    workers.forEachChunk(of: rows, size: Self.rowsPerTask) { rows($0).fill(value) }
  }

  private static let rowsPerTask = 64

  /// Overwrites this view, in row order, with `source`, of as many floats.
  package func copy(from source: Span<Float>) {
    precondition(source.count == rows * columns, "as many floats")
    for i in 0..<rows {
      let (to, start) = (row(i), i * columns)
      for j in 0..<to.count { to[j] = source[start &+ j] }
    }
  }

  /// Overwrites `target`, of as many floats, with this view in row order.
  package func copy(into target: inout MutableSpan<Float>) {
    precondition(target.count == rows * columns, "as many floats")
    for i in 0..<rows {
      let (from, start) = (row(i), i * columns)
      for j in 0..<from.count { target[start &+ j] = from[j] }
    }
  }

  /// The floats in row order, copied out: for tests, reports and small results.
  package var values: [Float] {
    (0..<rows).flatMap { i in (0..<columns).map { j in self[i, j] } }
  }

  /// Overwrites all floats, in row order: for tests and small inputs.
  package func assign(_ values: [Float]) {
    precondition(values.count == rows * columns, "one value per element")
    for i in 0..<rows {
      for j in 0..<columns { self[i, j] = values[i * columns + j] }
    }
  }
}
