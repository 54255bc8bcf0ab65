import Synchronization

/// A request for memory that the ceiling does not allow.
package struct MemoryRefusal: Error, Sendable, CustomStringConvertible {
  package let name: String
  package let bytes: Int
  package let granted: Int
  package let ceiling: Int
  /// Asked for by what comes after it.
  package let later: Int
  /// Settings with which less would be asked for, such as `memory.spill=always`.
  package var savings: [String] = []

  /// How much more the ceiling must be for everything to fit.
  package var missing: Int { granted + bytes + later - ceiling }

  package init(name: String, bytes: Int, granted: Int, ceiling: Int, later: Int = 0) {
    self.name = name
    self.bytes = bytes
    self.granted = granted
    self.ceiling = ceiling
    self.later = later
  }

  package var description: String {
    "\(name): \(ByteCount(bytes)) do not fit under the memory ceiling of \(ByteCount(ceiling)), of "
      + "which \(ByteCount(granted)) are taken; \(missing) bytes are missing in all"
  }
}

/// Grants every large allocation by name under one ceiling for the whole process.
///
/// The ledger counts bytes; it allocates nothing. Owners of memory ask before they allocate.
package final class MemoryLedger: Sendable {
  package struct Grant: Sendable {
    package let name: String
    package let bytes: Int

    package init(name: String, bytes: Int) {
      self.name = name
      self.bytes = bytes
    }
  }

  package let ceiling: Int
  private let state = Mutex<[Grant]>([])

  package init(ceiling: Int) { self.ceiling = ceiling }

  /// Grants `bytes` to `name`.
  /// - Throws: `MemoryRefusal` when the sum of all grants would pass the ceiling; nothing is
  ///   granted then.
  package func grant(_ name: String, bytes: Int) throws(MemoryRefusal) {
    precondition(bytes >= 0, "a grant has a size")
    let granted = state.withLock { grants -> Int? in
      let sum = grants.reduce(0) { $0 + $1.bytes }
      guard sum + bytes <= ceiling else { return sum }
      grants.append(Grant(name: name, bytes: bytes))
      return nil
    }
    if let granted {
      throw MemoryRefusal(name: name, bytes: bytes, granted: granted, ceiling: ceiling)
    }
  }

  package var grants: [Grant] { state.withLock { $0 } }
  package var granted: Int { state.withLock { $0.reduce(0) { $0 + $1.bytes } } }
  package var left: Int { ceiling - granted }
}
