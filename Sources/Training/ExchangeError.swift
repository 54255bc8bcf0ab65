/// Why a run cannot be exported or imported, beyond what files, corpus and store report themselves.
package enum ExchangeError: Error, Equatable, Sendable, CustomStringConvertible {
  case notAnExport(path: String, cause: String)
  case otherFormat(path: String, found: Int, supported: Int)
  case otherCorpus(path: String, found: String, wanted: String)
  case otherConfiguration(path: String, found: String, wanted: String)
  /// A tensor that is missing, unknown, or not as the configuration says.
  case wrongTensor(path: String, name: String, cause: String)
  /// A `config.json` that says otherwise than the tensors beside it.
  case wrongGeometry(path: String, differences: [String])
  /// An export that was to be imported with another configuration than its own.
  case configuredExport(path: String)
  /// Second moments that are factored.
  case factoredMoments(path: String)
  /// A published model that lost experts.
  case prunedExport(path: String)
  case occupiedRun(path: String)
  case occupiedStore(path: String)
  case cannotWrite(path: String, cause: String)
  case stopped

  package var description: String {
    switch self {
    case .notAnExport(let path, let cause):
      "\(path): \(cause); name a directory that `pagoda export` wrote, or "
        + "the folder of a model from Hugging Face's hub"
    case .otherFormat(let path, let found, let supported):
      "\(path): format \(found), this pagoda reads \(supported); use the pagoda that wrote it"
    case .otherCorpus(let path, let found, let wanted):
      "\(path) has the content \(found), the exported run was trained on \(wanted); name that "
        + "corpus with --corpus"
    case .otherConfiguration(let path, let found, let wanted):
      "\(path) describes the run \(found), the moments beside it are of \(wanted): restore it, or "
        + "export without --optimizer to start anew with other settings"
    case .wrongTensor(let path, let name, let cause):
      "\(path): tensor `\(name)` \(cause); fetch or export the model again, or restore its "
        + "configuration"
    case .wrongGeometry(let path, let differences):
      "\(path) does not describe the tensors beside it: \(differences.joined(separator: "; ")); "
        + "correct it, or fetch the model again"
    case .configuredExport(let path):
      "\(path) has a configuration of its own, config.yaml: leave out --config and the overrides"
    case .factoredMoments(let path):
      "\(path) was trained by Adafactor, whose factored moments have no place in such files: export "
        + "without --optimizer"
    case .prunedExport(let path):
      "\(path) has lost experts, and no published format has layers with some of them missing: export the "
        + "run before it was pruned"
    case .occupiedRun(let path):
      "\(path) exists, and a new run is to be made: name another directory, or remove this one"
    case .occupiedStore(let path):
      "\(path) holds a store already; name another --store, or remove that run first"
    case .cannotWrite(let path, let cause): "cannot write \(path): \(cause)"
    case .stopped: "stopped; what was begun is removed: run the same command again"
    }
  }
}
