import Foundation
import Storage
import TestSupport
import Testing

/// The built `pagoda`, run as a process of its own.
enum Pagoda {
  /// The program lies beside the test bundle.
  static let executable = Bundle.main.bundleURL.appending(path: "pagoda")
  /// Longer than any run here takes on a loaded machine; a process that is still alive is killed.
  static let patience = 300.0

  /// Runs to the end.
  /// - Parameter launcher: a command that changes its own limits and then becomes `pagoda`.
  static func run(
    _ arguments: [String], input: String? = nil, cache: TemporaryDirectory? = nil,
    under launcher: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Ending {
    try start(
      arguments, input: input, cache: cache, under: launcher, sourceLocation: sourceLocation
    ).wait()
  }

  /// A cache in which the drive under temporary files is known, so that no test waits for it to be
  /// measured but the one of measuring.
  private static let knownDrives = Result {
    let cache = try TemporaryDirectory()
    try DriveProfiles(path: cache.path + "/pagoda/drives.json").remember(
      DriveProfile(
        requestBytes: 1 << 20, queueDepth: 32, mixGBps: [1, 1, 1, 1, 1], alternatedGBps: 1,
        measuredAt: 0), of: cache.path)
    return cache
  }

  static func start(
    _ arguments: [String], input: String? = nil, cache: TemporaryDirectory? = nil,
    under launcher: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> RunningPagoda {
    try #require(
      FileManager.default.isExecutableFile(atPath: executable.path),
      "no program at \(executable.path)", sourceLocation: sourceLocation)
    return try RunningPagoda(
      launcher + [executable.path] + arguments, input: input,
      cache: try cache ?? knownDrives.get(), sourceLocation: sourceLocation)
  }
}

/// How a process ended and what it said.
struct Ending {
  /// nil when a signal ended it.
  let exitCode: Int32?
  let output: String
  let errors: String

  /// Expects `code` and every one of `words` on stderr.
  func expect(
    _ code: Int32, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(exitCode == code, "\(errors)", sourceLocation: sourceLocation)
    for word in words {
      #expect(errors.contains(word), "`\(word)` in: \(errors)", sourceLocation: sourceLocation)
    }
  }
}

/// A process under way. Its output goes to files, so that no full pipe can stop it.
final class RunningPagoda {
  private let process = Process()
  private let ended = DispatchSemaphore(value: 0)
  private let base: URL
  private let sourceLocation: SourceLocation

  /// - Parameters:
  ///   - command: a program and its arguments.
  ///   - cache: what the process remembers of drives.
  init(
    _ command: [String], input: String?, cache: TemporaryDirectory, sourceLocation: SourceLocation
  ) throws {
    base = FileManager.default.temporaryDirectory.appending(path: "pagoda-\(UUID().uuidString)")
    self.sourceLocation = sourceLocation
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = command
    // A crash must end the process, not wait in the backtracer.
    process.environment = ProcessInfo.processInfo.environment.merging(
      ["SWIFT_BACKTRACE": "enable=no", "XDG_CACHE_HOME": cache.path]) { $1 }
    try Data((input ?? "").utf8).write(to: file("in"))
    process.standardInput = try FileHandle(forReadingFrom: file("in"))
    process.standardOutput = try emptyFile("out")
    process.standardError = try emptyFile("err")
    process.terminationHandler = { [ended] _ in ended.signal() }
    try process.run()
  }

  deinit {
    for name in ["in", "out", "err"] { try? FileManager.default.removeItem(at: file(name)) }
  }

  func signal(_ number: Int32) {
    if process.isRunning { kill(process.processIdentifier, number) }
  }

  var errorsSoFar: String { (try? text("err")) ?? "" }

  /// Waits so many seconds for the end; true when it came.
  func hasEnded(within seconds: Double) -> Bool {
    let isOver = ended.wait(timeout: .now() + seconds) == .success
    if isOver { ended.signal() }
    return isOver
  }

  func wait() throws -> Ending {
    if !hasEnded(within: Pagoda.patience) {
      Issue.record("no end after \(Pagoda.patience) s", sourceLocation: sourceLocation)
      signal(SIGKILL)
      ended.wait()
    }
    let wasSignalled = process.terminationReason == .uncaughtSignal
    return Ending(
      exitCode: wasSignalled ? nil : process.terminationStatus, output: try text("out"),
      errors: try text("err"))
  }

  private func file(_ name: String) -> URL { base.appendingPathExtension(name) }

  private func emptyFile(_ name: String) throws -> FileHandle {
    try Data().write(to: file(name))
    return try FileHandle(forWritingTo: file(name))
  }

  private func text(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: file(name)), as: UTF8.self)
  }
}
