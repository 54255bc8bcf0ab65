import Dispatch
import Foundation
import Synchronization

/// A directory that goes away with its owner, and when SIGHUP, SIGINT or SIGTERM ends the program.
package final class ScratchDirectory: Sendable {
  package let path: String

  /// - Throws: `ScratchError` when it cannot be made.
  package init(in parent: String) throws {
    path = "\(parent)/bench-\(UUID().uuidString)"
    Stops.shared.paths.withLock { _ = $0.insert(path) }
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw ScratchError(path: path)
    }
  }

  deinit {
    try? FileManager.default.removeItem(atPath: path)
    Stops.shared.paths.withLock { _ = $0.remove(path) }
  }
}

package struct ScratchError: Error, CustomStringConvertible {
  let path: String
  package var description: String {
    "cannot make the directory \(path); give another --scratch, on the drive to be measured"
  }
}

/// Removes the directories that are there when a signal comes.
///
/// @unchecked Sendable: the sources are set once, before anybody else sees them.
private final class Stops: @unchecked Sendable {
  static let shared = Stops()

  let paths = Mutex<Set<String>>([])
  private var sources: [any DispatchSourceSignal] = []

  private init() {
    let queue = DispatchQueue(label: "signals")
    for number in [SIGHUP, SIGINT, SIGTERM] where !Self.isIgnored(number) {
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
      source.setEventHandler { [unowned self] in
        // Until the end nobody makes another one. Files may still be added: once more.
        paths.withLock { paths in
          for _ in 0..<2 {
            for path in paths { try? FileManager.default.removeItem(atPath: path) }
          }
          _exit(128 + number)
        }
      }
      source.resume()
      sources.append(source)
    }
  }

  /// As SIGHUP is under nohup.
  private static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    unsafe sigaction(number, nil, &action)
    return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
      == unsafeBitCast(SIG_IGN, to: Int.self)
  }
}
