/// Where the numbers of a tensor lie in a file. Read as a matrix: the last dimension are the
/// columns, all others together the rows; a vector is one row.
struct TensorPlace: Sendable {
  let file: InputFile
  /// For errors.
  let name: String
  let type: ElementType
  let shape: [Int]
  /// Elements from one index of a dimension to the next. The file reaches beyond the last element.
  let strides: [Int]
  /// Byte of the file at which the first element starts.
  let start: Int
  /// Whether the bytes of an element come most significant first.
  let isSwapped: Bool

  /// Most bytes that are read in one go when they do not go where they are wanted as they are.
  private static let stagingBytes = 256 << 10

  var columnCount: Int { shape.last ?? 1 }
  var rowCount: Int { shape.dropLast().reduce(1, *) }

  /// Whether both are the same bytes, read the same way.
  func isSame(as other: TensorPlace) -> Bool {
    file === other.file && start == other.start && type == other.type && shape == other.shape
      && strides == other.strides
  }

  /// Fills `target`, row by row, with the numbers as floats; holds little else in memory.
  /// - Throws: also when they are not floats in the file.
  func read(
    rows: Range<Int>, columns: Range<Int>, into target: inout MutableSpan<Float>
  ) throws(InterchangeError) {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= rowCount, "rows of the tensor")
    precondition(columns.lowerBound >= 0 && columns.upperBound <= columnCount, "its columns")
    precondition(target.count == rows.count * columns.count, "a float for each number")
    guard type.isFloat else {
      throw .unsupported(
        path: file.path, offset: start,
        cause: "tensor `\(printable(name))` is of type \(type.torchName)",
        remedy: "convert it to float32, float16, bfloat16 or float64")
    }
    if rows.isEmpty || columns.isEmpty { return }
    let stride = strides.last ?? 1
    if stride == 1 || columns.count == 1 {
      try readRows(rows, columns, stride: stride, into: &target)
    } else {
      try readColumns(rows, columns, stride: stride, into: &target)
    }
  }

  /// Where each row lies without a gap; rows that follow each other are read together.
  private func readRows(
    _ rows: Range<Int>, _ columns: Range<Int>, stride: Int, into target: inout MutableSpan<Float>
  ) throws(InterchangeError) {
    var (first, count, done) = (0, 0, 0)
    for row in rows {
      let element = element(row) + columns.lowerBound * stride
      if count > 0, element != first + count {
        try readRun(first, into: &target, done..<done + count)
        (done, count) = (done + count, 0)
      }
      if count == 0 { first = element }
      count += columns.count
    }
    try readRun(first, into: &target, done..<done + count)
  }

  /// Where the rows of a column follow each other without a gap, as in a transposed matrix, these
  /// are read together; otherwise every number alone.
  private func readColumns(
    _ rows: Range<Int>, _ columns: Range<Int>, stride: Int, into target: inout MutableSpan<Float>
  ) throws(InterchangeError) {
    let elements = rows.map { element($0) }
    let isDense = elements.indices.dropLast().allSatisfy { elements[$0] + 1 == elements[$0 + 1] }
    var run = [Float](repeating: 0, count: isDense ? rows.count : 1)
    for column in columns {
      for row in Swift.stride(from: 0, to: rows.count, by: run.count) {
        var span = run.mutableSpan
        let count = span.count
        try readRun(elements[row] + column * stride, into: &span, 0..<count)
        for index in 0..<count {
          target[(row + index) * columns.count + column - columns.lowerBound] = span[index]
        }
      }
    }
  }

  /// Fills `range` of `target` with what lies from the element `first` on.
  private func readRun(
    _ first: Int, into target: inout MutableSpan<Float>, _ range: Range<Int>
  ) throws(InterchangeError) {
    let size = type.byteCount
    var done = range.lowerBound
    var staging: [UInt8] = []
    while done < range.upperBound {
      let offset = start + (first + done - range.lowerBound) * size
      let isRaw = type == .f32 && !isSwapped
      let count = min(range.upperBound - done, isRaw ? Int.max : Self.stagingBytes / size)
      var part = target._mutatingExtracting(done..<done + count)
      if isRaw {
        var bytes = unsafe part.mutableBytes
        try file.read(at: offset, into: &bytes)
      } else {
        if staging.count != count * size {
          staging = [UInt8](repeating: 0, count: count * size)
        }
        var bytes = staging.mutableSpan
        var raw = unsafe bytes.mutableBytes
        try file.read(at: offset, into: &raw)
        unsafe type.widen(staging.span.bytes, isSwapped: isSwapped, into: &part)
      }
      done += count
    }
  }

  /// The first element of a row, counted from `start`.
  private func element(_ row: Int) -> Int {
    var (rest, element) = (row, 0)
    for dimension in shape.indices.dropLast().reversed() {
      let (quotient, index) = rest.quotientAndRemainder(dividingBy: shape[dimension])
      element += index * strides[dimension]
      rest = quotient
    }
    return element
  }
}

extension TensorPlace {
  /// Of a tensor that lies row by row without gaps.
  init(_ file: InputFile, _ entry: SafetensorsHeader.Entry) {
    self.file = file
    name = entry.tensor.name
    type = entry.tensor.type
    shape = entry.tensor.shape
    strides = Self.denseStrides(shape)
    start = entry.bytes.lowerBound
    isSwapped = false
  }

  /// - Parameter shape: whose product fits, unless a dimension is zero.
  static func denseStrides(_ shape: [Int]) -> [Int] {
    if shape.contains(0) { return shape.map { _ in 1 } }
    var strides = [Int](repeating: 1, count: shape.count)
    for index in shape.indices.dropLast().reversed() {
      strides[index] = strides[index + 1] * shape[index + 1]
    }
    return strides
  }
}
