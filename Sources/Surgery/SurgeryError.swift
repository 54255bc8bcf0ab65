/// Why experts of a run cannot be pruned, extracted or united.
package enum SurgeryError: Error, Equatable, Sendable, CustomStringConvertible {
  /// No gate of the run decides by task.
  case noGateByTask(path: String)
  /// Text that names no task of the run's gates.
  case noTask(String, cause: String)
  /// What was pruned has other probabilities than extraction needs.
  case pruned(path: String)
  /// Two runs that are not of one shape.
  case different(path: String, differences: [String])
  /// Gates that have no place for other experts.
  case published(path: String)
  /// A run that was trained meanwhile.
  case changed(path: String)
  /// Moments that cannot be kept.
  case otherStep(path: String, step: Int, other: Int)

  package var description: String {
    switch self {
    case .noGateByTask(let path):
      "no gate of \(path) decides by task, so no task has experts of its own; train a zcode model with "
        + "model.decoder_gate=target_language, or drop experts with `pagoda expert prune`"
    case .noTask(let text, let cause): "`\(text)` is no task here: \(cause)"
    case .pruned(let path):
      "\(path) was pruned, and its gates' probabilities are of the kept experts alone: extract from "
        + "the run before it was pruned"
    case .different(let path, let differences):
      "\(path) is not of the same shape (\(differences.joined(separator: "; "))); unite runs that "
        + "differ in their seeds, data and steps alone"
    case .published(let path):
      "\(path) is of a published family, whose gates have as many rows as its config.json says: unite "
        + "runs of zcode"
    case .changed(let path):
      "\(path) was trained on meanwhile: let it end, and run the same command again"
    case .otherStep(let path, let step, let other):
      "\(path) is at step \(step), the other run at \(other): what moments are worth depends on the "
        + "step; use --moments zero"
    }
  }
}
