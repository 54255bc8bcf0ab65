/// The weights of a model in a directory as Hugging Face lays them out, whatever files they are in:
///
///     model.safetensors, or model.safetensors.index.json and its files
///     pytorch_model.bin, or pytorch_model.bin.index.json and its files
///
/// All files are open, and their names of tensors compared with the index; numbers are read by the
/// piece, as floats.
package struct CheckpointFolder: Sendable {
  package struct Tensor: Hashable, Sendable {
    package let name: String
    package let type: ElementType
    package let shape: [Int]
    /// The name of its file.
    package let file: String
  }

  package let directory: String
  /// In the order of names.
  package let tensors: [Tensor]
  private let numbers: [String: Int]
  /// As `tensors`.
  private let places: [TensorPlace]

  /// Opens all files. Safetensors files are preferred; beside incomplete ones others are not taken,
  /// nor the other way round, since nobody can tell which are meant.
  /// - Parameters:
  ///   - stem: what the names of the files start with.
  ///   - followsLinks: whether files may be symbolic links, as in the cache of Hugging Face's hub.
  ///     An index that someone else wrote can name a link to anywhere.
  package init(
    _ directory: String, stem: String = "model", followsLinks: Bool = false
  ) throws(InterchangeError) {
    let index = try Self.choose(directory, stem, followsLinks: followsLinks)
    var places: [String: (place: TensorPlace, file: String)] = [:]
    for name in index.files {
      let file = try InputFile("\(directory)/\(name)", followsLinks: followsLinks)
      for place in try Self.places(file, index.format) {
        let tensor = place.name
        if let map = index.map, map[tensor] != name {
          throw .malformed(
            path: index.path, offset: 0,
            cause: "`\(printable(tensor))` of \(printable(name)) is not in the index")
        }
        places[tensor] = (place, name)
      }
    }
    if let map = index.map, let lost = map.keys.filter({ places[$0] == nil }).min() {
      throw .malformed(
        path: index.path, offset: 0,
        cause: "`\(printable(lost))` is not in \(printable(map[lost] ?? "its file"))")
    }
    let sorted = places.sorted { $0.key < $1.key }
    self.directory = directory
    self.places = sorted.map(\.value.place)
    tensors = sorted.map {
      Tensor(
        name: $0.key, type: $0.value.place.type, shape: $0.value.place.shape, file: $0.value.file)
    }
    numbers = Dictionary(uniqueKeysWithValues: sorted.enumerated().map { ($1.key, $0) })
  }

  package var names: Set<String> { Set(numbers.keys) }

  package func tensor(_ name: String) -> Tensor? { numbers[name].map { tensors[$0] } }

  /// Whether two tensors are the same bytes of a file, as tied weights are in files of PyTorch, which
  /// have each under all of its names.
  package func areTied(_ name: String, _ other: String) -> Bool {
    guard let first = numbers[name], let second = numbers[other] else { return false }
    return places[first].isSame(as: places[second])
  }

  /// The file that has the tensor `name`, for errors.
  package func path(of name: String) -> String? { numbers[name].map { places[$0].file.path } }

  /// Fills `target`, row by row, with numbers of the tensor `name`, which is read as a matrix: its
  /// last dimension are the columns, all others together the rows; a vector is one row.
  /// - Parameters:
  ///   - columns: all when nil.
  ///   - target: a float for each.
  /// - Throws: also when the tensor has no floats, or such as no reader here knows.
  package func read(
    _ name: String, rows: Range<Int>, columns: Range<Int>? = nil,
    into target: inout MutableSpan<Float>
  ) throws(InterchangeError) {
    guard let number = numbers[name] else { preconditionFailure("no tensor \(name)") }
    let place = places[number]
    try place.read(rows: rows, columns: columns ?? 0..<place.columnCount, into: &target)
  }

  // MARK: Files

  private static func choose(
    _ directory: String, _ stem: String, followsLinks: Bool
  ) throws(InterchangeError) -> CheckpointIndex {
    var found: [CheckpointIndex] = []
    // Nothing but a model is kept by PyTorch's own names.
    let formats = stem == "model" ? [CheckpointIndex.Format.safetensors, .pyTorch] : [.safetensors]
    for format in formats {
      let index = try CheckpointIndex(
        directory, stem: stem, format, followsLinks: followsLinks)
      if let index { found.append(index) }
    }
    guard let first = found.first else {
      let names = formats.map { CheckpointIndex.names($0, stem: stem) }
      throw .missing(
        path: directory, what: names.flatMap { [$0.single, $0.index] }.joined(separator: " or "))
    }
    guard let incomplete = found.first(where: { !$0.missing.isEmpty }) else { return first }
    let lost = printable(incomplete.missing[0])
    if let complete = found.first(where: { $0.missing.isEmpty }) {
      throw .unsupported(
        path: incomplete.path, offset: 0,
        cause: "it names \(lost), which is not there, while the \(complete.format.rawValue) files "
          + "beside it are complete",
        remedy: "fetch the missing files, or remove the index if the others are meant")
    }
    throw .missing(path: incomplete.path, what: "its file \(lost)")
  }

  private static func places(
    _ file: InputFile, _ format: CheckpointIndex.Format
  ) throws(InterchangeError) -> [TensorPlace] {
    switch format {
    case .safetensors:
      let header = try SafetensorsFile(file).header
      return header.entries.map { TensorPlace(file, $0) }
    case .pyTorch: return try PyTorchArchive(file).places
    }
  }
}
