import Base
import Kernels
import Layers
import Models
import Paging
import Tracing

/// Takes the time of the parts of a step and adds up what its report says.
///
///     | embed, layer ... layer | loss, layer ... layer  | dense tensors |
///     |        forward         |        backward        |    update     |   marks
///         waits                    experts' updates, waits                 booked by themselves
///
/// Parts are disjoint and add up to the step: what waits for the disk is in none but the stalls, and
/// the update of an expert is in `update` though a sweep is under way.
struct StepMeter {
  enum Part { case forward, backward, update }

  /// Seconds of arithmetic.
  struct Seconds {
    var forward = 0.0
    var backward = 0.0
    var update = 0.0

    subscript(part: Part) -> Double {
      get {
        switch part {
        case .forward: forward
        case .backward: backward
        case .update: update
        }
      }
      set {
        switch part {
        case .forward: forward = newValue
        case .backward: backward = newValue
        case .update: update = newValue
        }
      }
    }
  }

  /// Sum of squares of every gradient of the step, before clipping.
  var gradientSquares = 0.0
  private(set) var seconds = Seconds()
  private let trace: Trace
  private let before: PagerCounters
  private let start = nanoseconds()
  /// The last mark, and the seconds waited until then.
  private var last: UInt64
  private var stalled: Double
  /// Seconds booked as update since then, inside another part.
  private var inner = 0.0

  init(_ counters: PagerCounters, _ trace: Trace) {
    before = counters
    self.trace = trace
    last = start
    stalled = counters.stallSeconds
  }

  /// Books the time since the last mark, less waits and the updates inside it, to `part`.
  mutating func mark(_ part: Part, _ counters: PagerCounters) {
    let now = nanoseconds()
    seconds[part] += elapsedSeconds(from: last, to: now) - inner - (counters.stallSeconds - stalled)
    trace.note(part.name, from: last, to: now)
    (last, stalled, inner) = (now, counters.stallSeconds, 0)
  }

  /// Books seconds since the last mark as update, though another part is under way.
  mutating func book(update seconds: Double) {
    self.seconds.update += seconds
    inner += seconds
  }

  /// The same of the time of `body`.
  mutating func update<R>(_ body: (inout Self) throws -> R) rethrows -> R {
    let begin = nanoseconds()
    let result = try body(&self)
    let end = nanoseconds()
    let spent = elapsedSeconds(from: begin, to: end)
    book(update: spent)
    trace.note(.update, from: begin, to: end)
    return result
  }

  /// What there is to say of the step that ended with the last mark.
  func report(
    step: Int, loss: CrossEntropy.Total, _ model: Transformer, _ after: PagerCounters,
    _ held: HeldGradients.Counts?, rate: Double
  ) -> StepMetrics {
    trace.note(.step, subject: Int64(step), from: start, to: last)
    let elapsed = elapsedSeconds(from: start, to: last)
    let paged = after.since(before)
    var metrics = StepMetrics()
    metrics.step = step
    metrics.loss = loss.negativeLogLikelihood / Double(model.batch.labelCount)
    metrics.aux_loss = model.auxLoss
    metrics.learning_rate = rate
    metrics.grad_norm = gradientSquares.squareRoot()
    metrics.tokens = model.batch.tokens
    metrics.tokens_per_s = Double(model.batch.tokens) / elapsed
    metrics.step_s = elapsed
    metrics.forward_s = seconds.forward
    metrics.backward_s = seconds.backward
    metrics.update_s = seconds.update
    metrics.stall_s = paged.stallSeconds - paged.unplannedStallSeconds
    metrics.router_stall_s = paged.unplannedStallSeconds
    metrics.read_bytes = paged.bytesRead
    metrics.found_bytes = paged.bytesFound
    metrics.anticipated_unused_bytes = paged.anticipatedUnusedBytes
    metrics.write_bytes = paged.bytesWritten
    metrics.spill_read_bytes = paged.scratchBytesRead
    metrics.spill_write_bytes = paged.scratchBytesWritten
    metrics.read_gbps = Double(metrics.read_bytes) / elapsed / 1e9
    metrics.write_gbps = Double(metrics.write_bytes) / elapsed / 1e9
    metrics.visits = paged.visits
    metrics.hits = paged.hits
    metrics.hit_rate = paged.hitRate
    metrics.experts_touched = model.routings.reduce(0) { $0 + $1.touchedExperts }
    metrics.tasks = Set(model.batch.target.tasks).count
    metrics.task_experts = model.description.layers.reduce(0) { sum, layer in
      guard let mixture = layer.mixture, layer.gateInput?.isByTask == true else { return sum }
      return sum + model.routings[mixture].touchedExperts
    }
    metrics.held_left = held?.left ?? 0
    metrics.held_updated = held?.updated ?? 0
    metrics.held_untouched = held?.untouched ?? 0
    metrics.dropped = model.droppedShare
    return metrics
  }
}

extension StepMeter.Part {
  fileprivate var name: TraceName {
    switch self {
    case .forward: .forward
    case .backward: .backward
    case .update: .denseUpdate
    }
  }
}

extension Duration {
  package var seconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }
}
