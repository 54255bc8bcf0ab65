import Foundation
import Storage

/// A run directory while an import fills it. Its configuration has another name until the end, so
/// that no training takes half a model for a run, and so that the next import knows what may be
/// deleted.
struct ImportDraft {
  private let run: RunDirectory
  private var path: String { run.config + ".unfinished" }

  init(_ run: RunDirectory) { self.run = run }

  /// Claims the directory for an import into `storePaths`. What a killed import left is deleted.
  /// - Throws: `ExchangeError.occupiedRun`, `.occupiedStore`.
  func begin(_ config: RunConfig, storePaths: [String]) throws {
    let manager = FileManager.default
    if manager.fileExists(atPath: path) {
      let old = try RunConfig.load(path: path)
      try Store.erase(Trainer.storePaths(old, run))
    } else if manager.fileExists(atPath: run.path) {
      guard try manager.contentsOfDirectory(atPath: run.path).isEmpty else {
        throw ExchangeError.occupiedRun(path: run.path)
      }
    }
    for store in storePaths where try hasStore(store) {
      throw ExchangeError.occupiedStore(path: store)
    }
    try run.create()
    do {
      try config.yaml().write(toFile: path, atomically: true, encoding: .utf8)
    } catch {
      takeBack(storePaths: [])
      throw ExchangeError.cannotWrite(path: path, cause: error.localizedDescription)
    }
  }

  /// Copies the small files of the model in `folder`.
  func copyModel(_ folder: String) throws {
    let manager = FileManager.default
    do {
      try? manager.removeItem(atPath: run.model)
      try manager.createDirectory(atPath: run.model, withIntermediateDirectories: false)
      for name in PublishedModel.smallFiles where manager.fileExists(atPath: "\(folder)/\(name)") {
        // What a link leads to, and not the link.
        let bytes = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name)"))
        try bytes.write(to: URL(fileURLWithPath: "\(run.model)/\(name)"))
      }
    } catch {
      throw ExchangeError.cannotWrite(path: run.model, cause: error.localizedDescription)
    }
  }

  /// From now on the directory is a run.
  func finish() throws {
    guard unsafe rename(path, run.config) == 0 else {
      throw ExchangeError.cannotWrite(
        path: run.config, cause: unsafe String(cString: strerror(errno)))
    }
  }

  /// Deletes what was begun, as far as that can be done: the next import deletes the rest.
  func takeBack(storePaths: [String]) {
    if !storePaths.isEmpty {
      do { try Store.erase(storePaths) } catch { return }
    }
    try? FileManager.default.removeItem(atPath: run.model)
    try? FileManager.default.removeItem(atPath: path)
    run.removeIfEmpty()
  }

  private func hasStore(_ path: String) throws -> Bool {
    do {
      _ = try Store.describe(path)
      return true
    } catch StorageError.missing {
      return false
    }
  }
}
