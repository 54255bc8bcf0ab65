/// One directory of a store, on one drive.
package struct StorePath: Sendable, Equatable {
  /// As it was named when it became a part of the store or was drained, from the root.
  package internal(set) var directory: String
  package var slots: Int
  /// Whether its records were moved away and its data file is gone.
  package var isDrained: Bool
  /// Bytes of records written to it, as of the last commit.
  package var bytesWritten: Int
}

/// What a store says of itself, without opening it.
package struct StoreDescription: Sendable, Equatable {
  package let identity: String
  package let geometry: RecordGeometry
  /// Blocks that can ever be written.
  package internal(set) var blocks: Int
  /// By the number that slots name them with, drained ones included.
  package internal(set) var paths: [StorePath]
  /// Nanoseconds since 1970; tells stores of one identity apart.
  package let createdNanoseconds: Int

  /// Numbers of the paths that hold records.
  package var activePaths: [Int] { paths.indices.filter { !paths[$0].isDrained } }
  var slotsPerPath: [Int] { paths.map { $0.isDrained ? 0 : $0.slots } }

  /// Whether `directory`, however it is spelled, was a part of the store and is none any more. A
  /// data file of a path in use tells otherwise: drives change names.
  func isDrained(_ directory: String) -> Bool {
    let name = fromRoot(directory)
    guard paths.contains(where: { $0.isDrained && $0.directory == name }) else { return false }
    guard let header = DataFile.header(of: directory + "/" + DataFile.name) else { return true }
    return !activePaths.contains { DataFile.signature(of: $0, in: self) == header }
  }

  /// Whether this is one store at two times, or in two places, and not another one of the same run.
  func isSameStore(as other: StoreDescription) -> Bool {
    identity == other.identity && createdNanoseconds == other.createdNanoseconds
  }
}
