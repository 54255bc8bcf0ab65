package import Base

/// Random 16-bit numbers for stochastic rounding, 256 for each group of 256 values: a pure function of
/// (seed, purpose, step, block, group), so that any thread may round any group at any time.
///
/// The key of a step is two words of the seed's stream. Four groups make do with one set of random
/// numbers (`PhiloxBatch`), to which each adds a quarter of the range more: every number is as even as
/// before, and of four values 256 apart each is rounded by another quarter.
package struct RoundingNoise: Sendable {
  package static let groupCount = PhiloxBatch.setCount
  /// Groups that begin at a multiple of this many can be begun with.
  package static let groupsPerSet = 4
  /// A number that rounds everything to the nearest.
  package static let half: UInt16 = 0x8000

  /// A quarter of the range of each byte, so that either may count most.
  private static let stepOfGroup: UInt16 = 0x4040

  private let batch: PhiloxBatch
  private let block: (UInt32, UInt32)

  package init(seed: UInt64, purpose: RandomPurpose, step: Int, block: BlockID) {
    let words = Philox(seed: seed, purpose: purpose).words(
      UInt32(truncatingIfNeeded: step), UInt32(truncatingIfNeeded: step >> 32), 0)
    batch = PhiloxBatch(seed: UInt64(words.y) << 32 | UInt64(words.x), purpose: purpose)
    self.block = (
      UInt32(truncatingIfNeeded: block.rawValue), UInt32(truncatingIfNeeded: block.rawValue >> 32)
    )
  }

  /// The numbers of group `group`.
  /// - Parameter numbers: 256; those of the group before, unless the group begins a set.
  package func advance(_ numbers: inout MutableSpan<UInt16>, to group: Int) {
    precondition(numbers.count == Self.groupCount, "a group of numbers")
    if group % Self.groupsPerSet == 0 {
      batch.fill(&numbers, block.0, block.1, set: group / Self.groupsPerSet)
    } else {
      for i in numbers.indices { numbers[i] &+= Self.stepOfGroup }
    }
  }
}
