import Foundation

/// Why a run cannot start or go on, beyond what the modules below report themselves.
package enum TrainingError: Error, Sendable, CustomStringConvertible {
  case runBelongsToAnother(path: String, differences: [String])
  case notARun(path: String)
  case stopped
  case storesMoved(path: String, found: [String], wanted: [String])
  case storeNotFresh(path: String)
  /// `--fresh` where the weights of an import would be lost.
  case importedNotFresh(path: String)
  /// Training of a model whose weights nobody has read.
  case notImported(path: String, model: String)
  case noRun(path: String)
  case nothingToResume(path: String)
  case unreadableInput(path: String)
  case cannotCreate(path: String, cause: String)
  /// A file of the run directory, while the run is under way.
  case cannotWrite(path: String, cause: String)
  case expertTooLarge(bytes: Int)
  case notFinite(step: Int, what: String)
  case damagedState(cause: String)
  /// A store with other experts than its configuration says.
  case otherExperts(path: String, found: String, wanted: String)
  case unknownLanguage(String, known: [String])
  /// What a run of some tasks was not made for.
  case otherTask(String, tasks: [String])
  /// A gate by pairs of languages that is not told the source's.
  case sourceUnknown(known: [String])

  package var description: String {
    switch self {
    case .runBelongsToAnother(let path, let differences):
      "\(path) holds a run of another configuration (\(differences.joined(separator: "; "))); "
        + "choose another --run, restore the configuration, or start over: with --fresh, or of an "
        + "imported model by importing it again"
    case .notARun(let path):
      "\(path) is not empty and holds no Pagoda run (no config.yaml); choose another --run"
    case .stopped:
      "stopped before the translations were done; run the same command to do them"
    case .storesMoved(let path, let found, let wanted):
      "\(path) has its store in \(found.joined(separator: ", ")), not in "
        + "\(wanted.joined(separator: ", ")); leave out --store to use it, or start over with "
        + "--fresh"
    case .storeNotFresh(let path):
      "\(path) holds the store of a run in another directory; --fresh deletes only what the run in "
        + "--run made: name another --store, or remove that run first"
    case .importedNotFresh(let path):
      "\(path) was imported, and --fresh would delete the only weights it has; remove it and run "
        + "`pagoda import` again"
    case .notImported(let path, let model):
      "\(path) is new, and the weights in \(model) would not be used; make the run with `pagoda "
        + "import \(model) \(path)`, or give a folder without weights to start from the seed"
    case .noRun(let path):
      "\(path) holds no run (no config.yaml); name the --run directory of a training"
    case .nothingToResume(let path):
      "\(path) has no committed generation; train first, without --resume"
    case .unreadableInput(let path):
      "cannot read \(path); check the path and that it is UTF-8 text"
    case .cannotCreate(let path, let cause):
      "cannot create \(path): \(cause)"
    case .cannotWrite(let path, let cause):
      "cannot write \(path): \(cause) The last committed generation is whole: free space or mend the "
        + "disk and run the same command again"
    case .expertTooLarge(let bytes):
      "storage.block_bytes: \(bytes) bytes cannot hold one hidden unit of an expert; raise it"
    case .notFinite(let step, let what):
      "step \(step): the \(what) is not a finite number; the last committed generation is whole: "
        + "lower training.learning_rate or raise training.warmup_steps and run again"
    case .damagedState(let cause):
      "the committed generation does not read: \(cause); start over with --fresh, or import again"
    case .otherExperts(let path, let found, let wanted):
      "\(path) has \(found), the configuration says \(wanted). If `pagoda expert prune` was interrupted, "
        + "run the same command again; else use the run's own config.yaml, which says what it has"
    case .unknownLanguage(let tag, let known):
      "the run knows no language `\(tag)`; it knows: \(known.joined(separator: ", "))"
    case .otherTask(let task, let tasks):
      "the run does not translate \(task): it is for \(tasks.joined(separator: ", ")) alone "
        + "(data.tasks); use a run that is for it, such as the one that this was extracted from"
    case .sourceUnknown(let known):
      "the run's gates decide by pairs of languages: say what the lines are in with --from, of "
        + known.joined(separator: ", ")
    }
  }
}

/// Runs `body`, which writes the file `path` of a run; its failure names the file.
func writing<Result>(
  _ path: String, _ body: () throws -> Result
) throws(TrainingError) -> Result {
  do {
    return try body()
  } catch {
    throw .cannotWrite(path: path, cause: error.localizedDescription)
  }
}
