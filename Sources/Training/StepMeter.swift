import Base
import Kernels
import Layers
import Models
import Paging

/// Takes the time of the parts of a step and adds up what its report says.
struct StepMeter {
  struct Seconds {
    var forward = 0.0
    var backward = 0.0
    var update = 0.0
  }
  /// Sum of squares of every gradient of the step, before clipping.
  var gradientSquares = 0.0
  private(set) var seconds = Seconds()
  private let before: PagerCounters
  private let start = ContinuousClock.now
  private var last = ContinuousClock.now
  /// Seconds booked as update inside another part.
  private var inner = 0.0

  init(_ counters: PagerCounters) { before = counters }

  /// Books the time since the last mark, less the updates inside it, to `part`.
  mutating func mark(_ part: WritableKeyPath<Seconds, Double>) {
    let now = ContinuousClock.now
    seconds[keyPath: part] += (now - last).seconds - inner
    (last, inner) = (now, 0)
  }

  /// Books the time of `body` as update, though another part is under way.
  mutating func update<R>(_ body: (inout Self) throws -> R) rethrows -> R {
    let begin = ContinuousClock.now
    let result = try body(&self)
    let spent = (ContinuousClock.now - begin).seconds
    seconds.update += spent
    inner += spent
    return result
  }

  func report(
    step: Int, loss: CrossEntropy.Total, _ model: Transformer, _ after: PagerCounters,
    rate: Double
  ) -> StepMetrics {
    let elapsed = (ContinuousClock.now - start).seconds
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
    metrics.stall_s = paged.stallSeconds
    metrics.read_bytes = paged.bytesRead
    metrics.write_bytes = paged.bytesWritten
    metrics.read_gbps = Double(metrics.read_bytes) / elapsed / 1e9
    metrics.write_gbps = Double(metrics.write_bytes) / elapsed / 1e9
    metrics.visits = paged.visits
    metrics.hits = paged.hits
    metrics.hit_rate = paged.hitRate
    metrics.experts_touched = model.routings.reduce(0) { $0 + $1.touchedExperts }
    metrics.dropped = model.droppedShare
    return metrics
  }
}

extension Duration {
  package var seconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }
}
