/// What direct transfers of a file are multiples of.
package struct DirectAlignment: Hashable, Sendable {
  /// Of offsets and lengths, in bytes.
  package let offset: Int
  /// Of addresses, in bytes.
  package let memory: Int

  /// The unit of records and frames. A file that asks for more is used through the page cache.
  private static let most = 4096

  // File systems by their number in <linux/magic.h>.
  private static let tmpfs = 0x0102_1994
  private static let ramfs = 0x8584_58f6
  private static let overlayfs = 0x794c_7630

  /// nil where the file cannot be transferred directly, or only in larger units than ours.
  /// - Parameters:
  ///   - fileSystem: its number, as `statfs` gives it.
  ///   - said: what `statx` says of the file; nil where it does not say.
  package init?(fileSystem: Int, said: (offset: Int, memory: Int)?) {
    switch fileSystem {
    // Files in memory may take O_DIRECT, and are still not on a disk.
    case Self.tmpfs, Self.ramfs: return nil
    // An overlay takes O_DIRECT whatever lies below it, and passes on what a disk there says.
    case Self.overlayfs where said == nil: return nil
    default: break
    }
    // The most that any usual drive needs, where the kernel is too old to say.
    let (offset, memory) = said ?? (Self.most, Self.most)
    // Zero says that this file is never direct, whatever its flags claim.
    guard offset > 0, memory > 0, offset <= Self.most, memory <= Self.most else { return nil }
    (self.offset, self.memory) = (offset, memory)
  }
}
