/// The place of one record: a path of the store and a number on it.
package struct Slot: Hashable, Sendable {
  package let path: Int
  package let index: Int

  package init(path: Int, index: Int) { (self.path, self.index) = (path, index) }
}

/// What is known of a block that was written at least once. A block without an entry is virgin.
package struct RecordEntry: Sendable {
  /// Where the last generation has the record; nil when it did not exist then.
  package var committed: Slot?
  /// Where the open generation has it; nil when it has not been written since the last commit.
  package var open: Slot?
  /// Of the newest bytes: those of `open`, or else of `committed`.
  package var checksums: PlaneValues<UInt64>
  /// What training knows of the block.
  package var history: BlockHistory

  /// Where the newest bytes are.
  package var slot: Slot {
    guard let slot = open ?? committed else { preconditionFailure("an entry has a slot") }
    return slot
  }
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

/// A committed state of the whole store.
package struct Generation: Hashable, Sendable {
  package let step: Int
  /// Seconds since 1970.
  package let committedAt: Int
  /// What training stored beside it: the progress of the run.
  package let payload: [UInt8]
}
