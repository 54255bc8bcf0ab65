import Base

/// What of a file survives a power failure: the bytes that were synced, and each change since then
/// as far as chance lets it.
struct DurableImage {
  enum Change {
    case write(offset: Int, [UInt8])
    case truncate(byteCount: Int)
  }

  /// The unit that a drive writes whole.
  static let sectorBytes = 512

  private(set) var synced: [UInt8]
  private var unsynced: [Change] = []

  init(synced: [UInt8]) { self.synced = synced }

  var isSynced: Bool { unsynced.isEmpty }

  mutating func add(_ change: Change) { unsynced.append(change) }

  /// Zeros to the end, durably.
  mutating func grow(to byteCount: Int) {
    if byteCount > synced.count {
      synced.append(contentsOf: repeatElement(0, count: byteCount - synced.count))
    }
  }

  /// Decay of the medium: of what is durable, and of what will be.
  mutating func flipBit(byte: Int, bit: Int) {
    if byte < synced.count { synced[byte] ^= 1 << bit }
    for index in unsynced.indices {
      guard case .write(let offset, var bytes) = unsynced[index] else { continue }
      guard offset..<offset + bytes.count ~= byte else { continue }
      bytes[byte - offset] ^= 1 << bit
      unsynced[index] = .write(offset: offset, bytes)
    }
  }

  mutating func sync() {
    for change in unsynced {
      switch change {
      case .write(let offset, let bytes): write(bytes[...], at: offset)
      case .truncate(let byteCount): truncate(to: byteCount)
      }
    }
    unsynced = []
  }

  /// Power or a sync has failed: what is unsynced now either has arrived or never will.
  mutating func settle(_ fates: inout Fates) {
    for change in unsynced {
      let fate = fates.next()
      switch change {
      case .truncate(let byteCount): if fate != .lost { truncate(to: byteCount) }
      case .write(let offset, let bytes): land(bytes, at: offset, fate, fates)
      }
    }
    unsynced = []
  }

  private mutating func land(_ bytes: [UInt8], at offset: Int, _ fate: Fates.Fate, _ fates: Fates) {
    guard fate != .lost else { return }
    var start = offset
    while start < offset + bytes.count {
      let end = min((start / Self.sectorBytes + 1) * Self.sectorBytes, offset + bytes.count)
      if fate == .whole || fates.arrives(sector: start / Self.sectorBytes) {
        write(bytes[start - offset..<end - offset], at: start)
      }
      start = end
    }
  }

  private mutating func write(_ bytes: ArraySlice<UInt8>, at offset: Int) {
    grow(to: offset + bytes.count)
    synced.replaceSubrange(offset..<offset + bytes.count, with: bytes)
  }

  private mutating func truncate(to byteCount: Int) {
    if byteCount < synced.count { synced.removeLast(synced.count - byteCount) }
  }
}

/// Decides, by seed, what becomes of unsynced changes on one occasion: a power failure or the
/// failure of a sync.
struct Fates {
  enum Fate: CaseIterable { case lost, whole, torn }

  /// Drives reorder, but a failure that finds many changes should not always find all sorts.
  private enum Habit: CaseIterable {
    /// Each change for itself.
    case mixed
    case allLost
    case allWhole
    /// In order: some first ones arrived, and one of them may be torn.
    case prefix
  }

  private let random: Philox
  private let key: UInt32
  private let habit: Habit
  private var number: UInt32 = 0
  private var isCut = false

  /// - Parameter occasion: counts from 1.
  init(seed: UInt64, occasion: Int) {
    random = Philox(seed: seed, purpose: .test)
    key = Draw.crash.rawValue | UInt32(occasion) << 8
    habit = Habit.allCases[random.below(Habit.allCases.count, key, 0, 0)]
  }

  mutating func next() -> Fate {
    number += 1
    switch habit {
    case .allLost: return .lost
    case .allWhole: return .whole
    case .mixed: return draw()
    case .prefix:
      if isCut { return .lost }
      isCut = random.below(8, key, number, 1) == 0
      return isCut ? draw() : .whole
    }
  }

  /// How many of `count` changes whose order is kept, such as names in a directory, have arrived.
  func arrived(of count: Int) -> Int { random.below(count + 1, key, 0, 1) }

  /// Whether a sector of a torn write arrives.
  func arrives(sector: Int) -> Bool {
    random.below(2, key, number, UInt32(truncatingIfNeeded: sector) + 2) == 1
  }

  private func draw() -> Fate {
    Fate.allCases[random.below(Fate.allCases.count, key, number, 0)]
  }
}
