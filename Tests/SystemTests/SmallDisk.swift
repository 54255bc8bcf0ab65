import Foundation
import TestSupport

/// A file system in memory.
struct SmallDisk {
  static let isPossible: Bool = {
    guard geteuid() == 0, let probe = try? Workplace() else { return false }
    guard let disk = try? SmallDisk(probe.path("probe"), bytes: 1 << 20) else { return false }
    disk.unmount()
    return true
  }()

  let path: String

  init(_ path: String, bytes: Int) throws {
    self.path = path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    guard Self.run("mount", ["-t", "tmpfs", "-o", "size=\(bytes)", "tmpfs", path]) else {
      throw CocoaError(.fileWriteNoPermission)
    }
  }

  func resize(bytes: Int) {
    _ = Self.run("mount", ["-o", "remount,size=\(bytes)", path])
  }

  /// Also when a process that was not waited for still has a file open there.
  func unmount() { _ = Self.run("umount", ["--lazy", path]) }

  private static func run(_ command: String, _ arguments: [String]) -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [command] + arguments
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }
}
