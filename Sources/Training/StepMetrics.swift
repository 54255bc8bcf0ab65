/// One line of `metrics.jsonl`. Times are seconds of wall clock, rates are decimal GB/s.
// Names are the keys of the file.
// swift-format-ignore: AlwaysUseLowerCamelCase
package struct StepMetrics: Codable, Equatable, Sendable {
  package var step = 0
  /// Mean cross-entropy per target token in nats, without label smoothing and the gate's term.
  package var loss = 0.0
  /// The load-balancing loss, summed over layers and averaged over micro-batches: 1 a layer is
  /// even.
  package var aux_loss = 0.0
  package var learning_rate = 0.0
  /// Euclidean norm of the whole gradient before clipping.
  package var grad_norm = 0.0
  /// Source and target tokens of the step.
  package var tokens = 0
  package var tokens_per_s = 0.0
  /// Of the whole step: the sum of the five below.
  package var step_s = 0.0
  /// Arithmetic of the forward sweep, with bringing the dense part of a frozen generation into
  /// pages.
  package var forward_s = 0.0
  /// Arithmetic of the loss and the backward sweep, or sweeps (`clip: global`), without updates.
  package var backward_s = 0.0
  package var update_s = 0.0
  /// Waiting for the disk: for reads, for frames that are being written, for free slots. Without
  /// what `router_stall_s` has.
  package var stall_s = 0.0
  /// Waiting for the first expert of each layer in the forward sweep, which cannot be read before
  /// the router has decided.
  package var router_stall_s = 0.0
  /// Between the step before and this one, to freeze a generation; not part of `step_s`. With updates that
  /// had been left to this step where nobody could foresee the commit (`checkpoint.seconds`).
  package var commit_pause_s = 0.0
  package var read_bytes = 0
  /// What the experts and pages of the sweeps were found with in memory, and need not be read.
  package var found_bytes = 0
  /// Part of `read_bytes`: read before a gate had decided, of experts that it then did not choose.
  package var anticipated_unused_bytes = 0
  package var write_bytes = 0
  /// Boundary activations that went through the disk, not part of the two above.
  package var spill_read_bytes = 0
  package var spill_write_bytes = 0
  package var read_gbps = 0.0
  package var write_gbps = 0.0
  /// Blocks visited, forward and backward, and those found in memory.
  package var visits = 0
  package var hits = 0
  /// hits / visits.
  package var hit_rate = 0.0
  package var experts_touched = 0
  /// Tasks of the batch, as far as it names them; and of `experts_touched` those that gates by task chose,
  /// known before the sweep came to them.
  package var tasks = 0
  package var task_experts = 0
  /// Blocks whose gradients wait for the next forward sweep (`memory.held_gradients`); those updated from
  /// what the step before had left; and those of them that had no tokens now.
  package var held_left = 0
  package var held_updated = 0
  package var held_untouched = 0
  /// Routed tokens that found their expert full, of all routed tokens.
  package var dropped = 0.0
  package var peak_rss_bytes = 0
  package var memory_budget_bytes = 0

  package init() {}

  /// Seconds of the step that waited for the disk.
  package var allStallSeconds: Double { stall_s + router_stall_s }
}

/// One line of `evaluations.jsonl`: held-out cross-entropy per target token in nats.
// swift-format-ignore: AlwaysUseLowerCamelCase
package struct EvaluationReport: Codable, Equatable, Sendable {
  package var step = 0
  package var loss = 0.0
  /// By kind of task, or by direction, such as `translate de-en`.
  package var loss_by_task: [String: Double] = [:]
  package var tokens = 0

  package init() {}
}
