import Base
import Foundation
import Kernels
import Planning

/// The machine a figure was measured on.
package struct Machine: Encodable, Sendable {
  package let processor: String
  package let cores: Int
  package let memoryBytes: Int
  package let kernel: String
  /// The library that multiplies: its version and, of OpenBLAS, the core it chose its kernels for.
  package let blas: String
  /// Of our own loops.
  package let vectors: String

  package static let this = Machine(
    processor: MachineFacts.Processor(cpuinfo: text(of: "/proc/cpuinfo") ?? "").model,
    cores: ProcessInfo.processInfo.activeProcessorCount,
    memoryBytes: meminfo(text(of: "/proc/meminfo") ?? "")["MemTotal"] ?? 0,
    kernel: firstLine(of: "/proc/sys/kernel/osrelease") ?? "unknown",
    blas: ProductLibrary.best.description,
    vectors: vectorsDescription())
}

/// Where a figure comes from.
package enum Provenance {
  /// The commit of the sources that this program lies among, `+dirty` where files differ from it;
  /// `unknown` where there is no repository or no git.
  package static let commit: String = {
    guard let head = git("rev-parse", "--short=12", "HEAD"), !head.isEmpty else { return "unknown" }
    let changes = git("status", "--porcelain", "--untracked-files=no") ?? ""
    return changes.isEmpty ? head : head + "+dirty"
  }()

  /// Now, in UTC.
  package static var date: String { Date.now.formatted(.iso8601) }

  private static func git(_ arguments: String...) -> String? {
    let program = absolute(CommandLine.arguments[0])
    let directory = program.split(separator: "/").dropLast().joined(separator: "/")
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["git", "-C", "/" + directory] + arguments
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return nil }
    let text = String(
      decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return process.terminationStatus == 0 ? trimmed(text[...]) : nil
  }
}
