import Foundation
import Fuzzing
import Interchange
import TestSupport
import Testing

/// A file or directory of the resources.
func resource(_ name: String) -> String {
  Bundle.module.bundleURL.appending(path: "Resources/\(name)").path
}

extension TemporaryDirectory {
  /// - Returns: the path of the file.
  @discardableResult
  func write(_ bytes: [UInt8], _ name: String) throws -> String {
    let path = "\(path)/\(name)"
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return path
  }
}

extension CheckpointFolder {
  /// A folder of one file, which exists elsewhere.
  init(file: String, as name: String, _ directory: TemporaryDirectory) throws {
    try FileManager.default.copyItem(atPath: file, toPath: "\(directory.path)/\(name)")
    try self.init(directory.path)
  }

  func rowCount(_ name: String) -> Int {
    tensor(name)?.shape.dropLast().reduce(1, *) ?? 0
  }
  func columnCount(_ name: String) -> Int { tensor(name)?.shape.last ?? 1 }

  /// The bits of numbers, row by row; of all rows and columns when nil.
  func bits(_ name: String, rows: Range<Int>? = nil, columns: Range<Int>? = nil) throws -> [UInt32]
  {
    let rows = rows ?? 0..<rowCount(name)
    var floats = [Float](
      repeating: .nan, count: rows.count * (columns?.count ?? columnCount(name)))
    var span = floats.mutableSpan
    try read(name, rows: rows, columns: columns, into: &span)
    return floats.map(\.bitPattern)
  }
}

/// The error of a reader, which must be one of bad data.
func badData(
  _ location: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> String? {
  let error = #expect(throws: InterchangeError.self, sourceLocation: location) { try body() }
  #expect(error?.exitCode == 65, sourceLocation: location)
  return error?.description
}
