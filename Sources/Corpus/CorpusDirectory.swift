import Foundation

/// The output directory in the making: everything goes to `DIR.partial`, which takes the name `DIR`
/// when it is complete.
struct CorpusDirectory {
  private let final: String
  private let partial: String
  private static let licences = "licences"
  private static let suffix = ".partial"

  /// Starts afresh; what an interrupted preparation left is removed.
  init(_ path: String) throws(CorpusError) {
    final = Self.target(of: path)
    partial = final + Self.suffix
    try DirectoryReplacement.start(partial)
    try Self.attempt(partial) { [partial] in
      try FileManager.default.createDirectory(
        atPath: "\(partial)/\(Self.licences)", withIntermediateDirectories: true)
    }
  }

  /// Refuses to replace anything but a corpus, an empty directory or an unfinished one, there or
  /// where the new one is made.
  static func checkReplaceable(_ path: String) throws(CorpusError) {
    let final = target(of: path)
    try DirectoryReplacement.recover(final)
    try DirectoryReplacement.check(final)
    try DirectoryReplacement.check(final + suffix)
  }

  /// The directory that a symbolic link at `path` leads to: it is replaced, the link stays.
  private static func target(of path: String) -> String {
    let isLink = (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) != nil
    return isLink ? URL(fileURLWithPath: path).resolvingSymlinksInPath().path : path
  }

  /// What an input is called: the last part of its path.
  static func name(_ input: String) -> String { URL(fileURLWithPath: input).lastPathComponent }

  func path(_ name: String) -> String { "\(partial)/\(name)" }

  func write(_ data: Data, _ name: String) throws(CorpusError) {
    try Self.attempt(path(name)) { try data.write(to: URL(fileURLWithPath: path(name))) }
  }

  func write(_ manifest: CorpusManifest) throws(CorpusError) {
    try Self.attempt(path(CorpusFile.manifest)) {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
      try encoder.encode(manifest).write(to: URL(fileURLWithPath: path(CorpusFile.manifest)))
    }
  }

  func describeFiles() throws(CorpusError) -> [String: CorpusManifest.File] {
    var files: [String: CorpusManifest.File] = [:]
    for name in CorpusFile.checked {
      files[name] = CorpusManifest.File(try DirectoryWalk.read(path(name)))
    }
    return files
  }

  /// Keeps the copyright notice of every input beside the text taken from it.
  func copyLicences(of inputs: [String]) throws(CorpusError) {
    for input in inputs {
      guard let notice = try Self.copyright(of: input) else { continue }
      try write(try DirectoryWalk.read(notice), "\(Self.licences)/\(Self.name(input))")
    }
  }

  /// Keeps the copyright notices that another corpus has.
  func copyNotices(from corpus: String) throws(CorpusError) {
    let folder = "\(corpus)/\(Self.licences)"
    guard DirectoryWalk.isDirectory(folder) else { return }
    for name in try DirectoryWalk.children(of: folder) {
      try write(try DirectoryWalk.read("\(folder)/\(name)"), "\(Self.licences)/\(name)")
    }
  }

  /// Gives the finished directory its name.
  func publish() throws(CorpusError) { try DirectoryReplacement.publish(partial, as: final) }

  /// The first licence that the package's copyright file names; Debian's machine-readable format
  /// puts that of the bulk of the files first.
  static func licence(of input: String) throws(CorpusError) -> String {
    guard let notice = try copyright(of: input) else { return "unknown" }
    let lines = String(decoding: try DirectoryWalk.read(notice), as: UTF8.self).split(
      separator: "\n")
    let prefix = "License:"
    guard let line = lines.first(where: { $0.hasPrefix(prefix) }) else { return "see licences/" }
    return TextCleaning.collapsed(String(line.dropFirst(prefix.count)))
  }

  private static func copyright(of input: String) throws(CorpusError) -> String? {
    let documentation = "\(input)/usr/share/doc"
    guard DirectoryWalk.isDirectory(documentation) else { return nil }
    return try DirectoryWalk.files(below: documentation) { $0.hasSuffix("/copyright") }.first
  }

  private static func attempt(_ path: String, _ body: () throws -> Void) throws(CorpusError) {
    do {
      try body()
    } catch {
      throw .unwritable(path: path, cause: error.localizedDescription)
    }
  }
}
