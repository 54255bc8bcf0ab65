/// What a record of a timeline tells of. What its numbers mean is said at each.
package enum TraceName: UInt8, BitwiseCopyable, Sendable {
  // The training thread. Those above enclose those below.

  /// subject: the number of the step.
  case step
  case forward, backward
  /// The backward sweep that only measures gradients.
  case gradientNorm
  /// subject: the number of the layer in its stack; detail: 0 encoder, 1 decoder.
  case layer
  case embedding, loss
  /// Norm, attention and cross-attention.
  case attention
  /// The same in a layer whose FFN is dense, which is in it.
  case attentionAndFeedForward
  case router
  /// subject: the block; amount: rows.
  case expert
  /// AdamW of an expert, and of the dense part.
  case update, denseUpdate
  /// The dense part of a frozen generation goes to the disk.
  case denseSave
  /// The holder of a page waits. subject: the block that is waited for, -1 when no page is; detail:
  /// the `StallCause`.
  case stall
  /// The same for a page that could not be planned before it was wanted: the router had to decide.
  case routerStall
  // Between two steps.
  case commitFreeze, evaluation

  // A worker.

  /// A loop that the worker took part in. amount: tasks it did.
  case loop

  // What crosses the disk, from submission to completion.

  /// subject: the block; amount: bytes; detail: planes, one bit each, and `failedBit`; place: the
  /// number of the file.
  case read, write
  /// The same of leaves of the scratch. subject: the leaf; without planes.
  case scratchRead, scratchWrite

  // Levels, at `start` alone.

  /// subject: bytes to be read; amount: bytes to be written; end: frames in use, those of weights
  /// above 32 bits of those of state.
  case levels
}

/// Why the training thread waits for the disk.
package enum StallCause: UInt8, Sendable {
  /// For bytes to come.
  case read
  /// For bytes to go, and with them a frame.
  case write
  /// For a slot: a generation must become durable, or its reader must let go of it.
  case slot
}

/// One line of a timeline, of a size that is known.
package struct TraceRecord: BitwiseCopyable, Sendable {
  package let name: TraceName
  package let detail: UInt8
  package let place: UInt16
  /// Nanoseconds of the monotonic clock.
  package let start: UInt64
  package var end: UInt64
  package let subject: Int64
  package let amount: Int64

  package static let failedBit: UInt8 = 1 << 7

  package init(
    _ name: TraceName, detail: UInt8 = 0, place: UInt16 = 0, subject: Int64 = 0, amount: Int = 0,
    from start: UInt64, to end: UInt64
  ) {
    (self.name, self.detail, self.place) = (name, detail, place)
    (self.start, self.end) = (start, end)
    (self.subject, self.amount) = (subject, Int64(amount))
  }
}
