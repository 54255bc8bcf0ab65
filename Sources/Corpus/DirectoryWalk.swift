import Foundation

/// Directory listings in one fixed order: what a corpus holds may not depend on the file system.
enum DirectoryWalk {
  /// The regular files below `root` whose names end in `suffix`, sorted by path.
  static func files(
    below root: String, where matches: (String) -> Bool
  ) throws(CorpusError) -> [String] {
    guard isDirectory(root) else { throw .missingInput(path: root) }
    guard let walk = FileManager.default.enumerator(atPath: root) else {
      throw .unreadable(path: root, cause: "the directory cannot be listed")
    }
    var found: [String] = []
    for case let path as String in walk where matches(path) { found.append("\(root)/\(path)") }
    return found.sorted()
  }

  static func isDirectory(_ path: String) -> Bool {
    var directory: ObjCBool = false
    return unsafe FileManager.default.fileExists(atPath: path, isDirectory: &directory)
      && directory.boolValue
  }

  static func children(of directory: String) throws(CorpusError) -> [String] {
    do {
      return try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
    } catch {
      throw .unreadable(path: directory, cause: error.localizedDescription)
    }
  }

  static func read(_ path: String) throws(CorpusError) -> Data {
    do {
      return try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      throw .unreadable(path: path, cause: error.localizedDescription)
    }
  }
}
