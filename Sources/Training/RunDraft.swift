import Base
import DirectIO
import Foundation
import Interchange
import Storage

/// A run directory while an import, or what makes a run of runs, fills it. Its configuration has another name until the end, so
/// that no training takes half a model for a run, and so that the next import knows what may be
/// deleted.
struct RunDraft {
  private let run: RunDirectory
  private var path: String { run.config + ".unfinished" }

  init(_ run: RunDirectory) { self.run = run }

  /// Claims the directory for an import into `storePaths`. What a killed import left is deleted.
  /// - Throws: `ExchangeError.occupiedRun`, `.occupiedStore`.
  func begin(_ config: RunConfig, storePaths: [String]) throws {
    let manager = FileManager.default
    if manager.fileExists(atPath: path) {
      try eraseBegun()
      try? manager.removeItem(atPath: run.model)
      try? manager.removeItem(atPath: path)
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
      // In place: killed before a rename, only a file of another name would be here, and a piece of it
      // says as much, since there is no store yet.
      try writeSynced(Array(config.yaml().utf8), to: path)
    } catch {
      takeBack(storePaths: [])
      throw error
    }
  }

  /// Deletes what a killed import has written: the store in the run directory, and elsewhere one
  /// that has no generation yet. One that has may be somebody else's by now.
  /// - Throws: `ExchangeError.occupiedStore`.
  private func eraseBegun() throws {
    let old = try? RunConfig.load(path: path)
    for store in old.map({ Trainer.storePaths($0, run) }) ?? [] where store != run.store {
      guard try hasStore(store) else { continue }
      let isFinished =
        try Store.openReadOnly(paths: [store], disk: openDisk().disk).generation != nil
      guard !isFinished else { throw ExchangeError.occupiedStore(path: store) }
      try Store.erase([store])
    }
    try Store.erase([run.store])
  }

  /// Copies the small files of the model in `folder`, durably.
  /// - Throws: `InterchangeError` for one that cannot be such a file.
  func copyModel(_ folder: String, followsLinks: Bool) throws {
    let files = try PublishedModel.smallContents(folder, followsLinks: followsLinks)
    do {
      try? FileManager.default.removeItem(atPath: run.model)
      try FileManager.default.createDirectory(
        atPath: run.model, withIntermediateDirectories: false)
    } catch {
      throw ExchangeError.cannotWrite(path: run.model, cause: error.localizedDescription)
    }
    for file in files { try writeSynced(file.bytes, to: "\(run.model)/\(file.name)") }
  }

  /// From now on the directory is a run, also after the power was lost.
  func finish() throws {
    var code = unsafe rename(path, run.config) == 0 ? 0 : errno
    if code == 0 {
      code = syncNames(in: run.path)
      // What is taken back has the other name.
      if code != 0 { _ = unsafe rename(run.config, path) }
    }
    guard code == 0 else {
      throw ExchangeError.cannotWrite(
        path: run.config, cause: unsafe String(cString: strerror(code)))
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
