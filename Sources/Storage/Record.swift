/// The place of one record: a path of the store and a number on it.
package struct Slot: Hashable, Sendable {
  package let path: Int
  package let index: Int

  package init(path: Int, index: Int) { (self.path, self.index) = (path, index) }
}

/// One version of a block's bytes: where they are, what they must be, and what training knows of
/// the block. A block without a record is virgin.
package struct Record: Hashable, Sendable {
  package let slot: Slot
  package let checksums: PlaneValues<UInt64>
  package let history: BlockHistory
}

/// What training remembers of a block beside its planes.
package struct BlockHistory: Hashable, Sendable {
  /// The step of the last optimizer update.
  package var lastStep: Int
  /// Optimizer updates so far.
  package var updates: Int
  /// Tokens that were routed to the block so far.
  package var tokens: Int

  package init(lastStep: Int = 0, updates: Int = 0, tokens: Int = 0) {
    (self.lastStep, self.updates, self.tokens) = (lastStep, updates, tokens)
  }
}

/// A committed state of the whole store, named by its step.
package struct Generation: Hashable, Sendable {
  package let step: Int
  /// Seconds since 1970.
  package let committedAt: Int
  /// What training stored beside it: the progress of the run.
  package let payload: [UInt8]
}
