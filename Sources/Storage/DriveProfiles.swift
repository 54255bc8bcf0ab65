import Base
import Foundation

/// The profiles of the drives of this machine, in one file of this user, so that a drive is
/// measured once and not by every run.
///
/// Drives are told apart by the identity and size of their file system. On ext4 and btrfs that is
/// the file system's own, wherever it is mounted; on XFS it is the device's number, so that two
/// drives of one size which change names also change profiles: they lose speed, nothing else.
package struct DriveProfiles: Sendable {
  private struct Content: Codable {
    static let format = 1
    var format = Content.format
    var drives: [String: Entry] = [:]
  }

  /// One that cannot be is none, and does not spoil the others.
  private struct Entry: Codable {
    let profile: DriveProfile?

    init(_ profile: DriveProfile) { self.profile = profile }
    init(from decoder: any Decoder) throws { profile = try? DriveProfile(from: decoder) }
    func encode(to encoder: any Encoder) throws { try profile?.encode(to: encoder) }
  }

  /// Where the file is.
  package let path: String

  package init(path: String) { self.path = path }

  /// `pagoda/drives.json` under `XDG_CACHE_HOME`, or under `~/.cache`.
  package static var ofUser: DriveProfiles {
    let environment = ProcessInfo.processInfo.environment
    let cache = environment["XDG_CACHE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
    return DriveProfiles(path: (cache ?? NSHomeDirectory() + "/.cache") + "/pagoda/drives.json")
  }

  /// What is remembered of the drive under `directory`, or under the nearest directory above it
  /// that exists.
  package func profile(of directory: String) -> DriveProfile? {
    Self.key(of: directory).flatMap { read().drives[$0]?.profile }
  }

  /// - Throws: the system's words when the file cannot be written; nothing is lost but time.
  package func remember(_ profile: DriveProfile, of directory: String) throws {
    guard let key = Self.key(of: directory) else { return }
    var content = read()
    content.drives = content.drives.filter { $0.value.profile != nil }
    content.drives[key] = Entry(profile)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    let file = URL(fileURLWithPath: path)
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try encoder.encode(content).write(to: file, options: .atomic)
  }

  /// A file that is not there, is damaged or of another format is an empty one.
  private func read() -> Content {
    guard let data = FileManager.default.contents(atPath: path),
      let content = try? JSONDecoder().decode(Content.self, from: data),
      content.format == Content.format
    else { return Content() }
    return content
  }

  /// Identity and size of the file system; nil where it has no drive.
  private static func key(of directory: String) -> String? {
    var system = statvfs()
    guard unsafe statvfs(existing(directory), &system) == 0, system.f_blocks > 0 else { return nil }
    return "\(hex(system.f_fsid))-\(hex(system.f_blocks))"
  }

  private static func hex(_ value: some BinaryInteger) -> String {
    String(UInt64(truncatingIfNeeded: value), radix: 16)
  }

  /// `path`, or the nearest directory above it that exists.
  package static func existing(_ path: String) -> String {
    var path = path
    while !path.isEmpty, path != "/", !FileManager.default.fileExists(atPath: path) {
      path = parent(of: path)
      if path == "." { return path }
    }
    return path.isEmpty ? "/" : path
  }
}
