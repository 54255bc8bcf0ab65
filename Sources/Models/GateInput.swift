import Kernels

/// What a gate looks at (Kudugunta et al., "Beyond distillation: Task-level mixture-of-experts for
/// efficient inference", 2021).
package enum GateInput: Sendable {
  /// Each token.
  case token
  /// The mean of a sentence's tokens: one set of experts for all of them. Of encoders alone: in a
  /// decoder it would tell of tokens that are yet to come.
  case sentence
  /// A learned embedding of the sentence's task: one set of experts for all of its sentences, known
  /// before any of them is read.
  case task(TaskEmbedding)

  /// Whether a full expert drops tokens. A task's experts take all of its tokens: which other tasks
  /// are in the batch is no reason to treat it otherwise, and alone it must fare the same.
  var hasCapacity: Bool { !isByTask }
  package var isByTask: Bool { taskTable != nil }
  var taskTable: TensorSlot? { if case .task(let tasks) = self { tasks.table } else { nil } }
}

/// The embeddings that gates by task look at.
package struct TaskEmbedding: Sendable {
  /// What makes two sentences the same task.
  package enum Kind: Sendable {
    case targetLanguage
    case languagePair
  }

  package let kind: Kind
  package let languages: Int
  /// [tasks, width].
  package let table: TensorSlot

  /// Tasks among so many languages.
  static func rows(_ kind: Kind, languages: Int) -> Int {
    kind == .targetLanguage ? languages : languages * languages
  }

  /// The row of a task.
  package func row(of task: SequenceTask) -> Int {
    precondition(0..<languages ~= task.source && 0..<languages ~= task.target, "known languages")
    return kind == .targetLanguage ? task.target : task.source * languages + task.target
  }
}

/// The languages of a sentence, by number.
package struct SequenceTask: Hashable, Comparable, Sendable {
  package let source: Int
  package let target: Int

  package init(source: Int, target: Int) { (self.source, self.target) = (source, target) }

  package static func < (a: Self, b: Self) -> Bool {
    (a.source, a.target) < (b.source, b.target)
  }
}

extension LayerDescription {
  /// What its gate looks at, where it has one.
  package var gateInput: GateInput? {
    if case .mixture(let mixture) = feedForward { mixture.input } else { nil }
  }
}

extension ModelDescription {
  /// Whether some gate decides for many tokens at once.
  var hasSharedGates: Bool {
    layers.contains { layer in
      switch layer.gateInput {
      case nil, .token: false
      case .sentence, .task: true
      }
    }
  }
}

/// What decides for many tokens of one micro-batch: its sentences, or the tasks that occur in it.
struct SharedDecisions {
  private let place: Gates.Place
  /// Of gates by task: the row of each task, in the order in which they occur.
  private let tasks: [Int]?
  /// The sentence or the task of each row.
  let ofToken: [Int]

  /// nil where each token decides for itself.
  init?(_ input: GateInput, _ place: Gates.Place) {
    self.place = place
    let ofSequence: [Int]
    switch input {
    case .token: return nil
    case .sentence:
      tasks = nil
      ofSequence = Array(place.sequences.indices)
    case .task(let embedding):
      precondition(place.tasks.count == place.sequences.count, "every sequence has a task")
      let rows = place.tasks.map(embedding.row)
      var units: [Int: Int] = [:]
      for row in rows where units[row] == nil { units[row] = units.count }
      tasks = units.sorted { $0.value < $1.value }.map(\.key)
      ofSequence = rows.map { units[$0, default: 0] }
    }
    ofToken = zip(place.sequences, ofSequence).flatMap { rows, unit in
      Array(repeating: unit, count: rows.count)
    }
  }

  var count: Int { tasks?.count ?? place.sequences.count }

  /// What each of them is judged by, [count, width].
  func forward(_ x: Matrix, tasks table: Matrix?, into units: Matrix) {
    if let tasks {
      guard let table else { preconditionFailure("a gate by task has embeddings") }
      for (unit, row) in tasks.enumerated() {
        units.rows(unit..<unit + 1).copy(from: table.rows(row..<row + 1))
      }
      return
    }
    units.fill(0)
    for (unit, tokens) in place.keys.enumerated() {
      let mean = units.rows(unit..<unit + 1)
      for token in tokens { add(x.rows(token..<token + 1), to: mean, on: .inline) }
      scaleRows(mean, by: [1 / Float(tokens.count)], on: .inline)
    }
  }

  /// dx += or dtasks +=. Overwrites `dUnits`.
  func backward(_ dUnits: Matrix, dx: Matrix, dtasks: Matrix?) {
    if let tasks {
      guard let dtasks else { preconditionFailure("a gate by task has embeddings") }
      for (unit, row) in tasks.enumerated() {
        add(dUnits.rows(unit..<unit + 1), to: dtasks.rows(row..<row + 1), on: .inline)
      }
      return
    }
    for (unit, tokens) in place.keys.enumerated() {
      let share = dUnits.rows(unit..<unit + 1)
      scaleRows(share, by: [1 / Float(tokens.count)], on: .inline)
      for token in tokens { add(share, to: dx.rows(token..<token + 1), on: .inline) }
    }
  }
}
