import Base
import PinnedMemory

/// Pages of 4 KiB that cannot be compressed or merged and that prove themselves: random words
/// behind a stamp that says which page of the file this is and which words follow.
///
///     byte 0          8            12          16                       4096
///     | page of file  | words from | seed      | Philox words 1 ... 255 |
///
/// Memory is filled with random words once and stamped before each write, which costs nothing;
/// drives and hosts that compress, merge or drop zeros are not fooled into speed.
@safe struct ScratchPages {
  static let pageBytes = 4096
  private static let wordsPerPage = pageBytes / 16

  private let random: Philox
  private let seed: UInt32

  init(seed: UInt64) {
    random = Philox(seed: seed, purpose: .test)
    self.seed = UInt32(truncatingIfNeeded: seed)
  }

  /// Fills `memory`, whose page i gets the words of origin i.
  func fill(_ memory: PinnedSlice) {
    unsafe memory.bytes.withMemoryRebound(to: SIMD4<UInt32>.self) { words in
      for index in 0..<memory.byteCount / 16 {
        let (origin, word) = (index / Self.wordsPerPage, index % Self.wordsPerPage)
        unsafe words[index] = random.words(UInt32(origin), UInt32(word), 0)
      }
    }
  }

  /// Makes the pages of `memory` those of a file from `firstPage` on.
  ///
  /// - Parameter origin: the page of the filled memory at which `memory` begins.
  func stamp(_ memory: PinnedSlice, firstPage: Int, origin: Int) {
    for page in 0..<memory.byteCount / Self.pageBytes {
      let stamp = unsafe (memory.address + page * Self.pageBytes)
      unsafe stamp.storeBytes(of: UInt64(firstPage + page), as: UInt64.self)
      unsafe stamp.storeBytes(of: UInt32(origin + page), toByteOffset: 8, as: UInt32.self)
      unsafe stamp.storeBytes(of: seed, toByteOffset: 12, as: UInt32.self)
    }
  }

  /// The sum of a page's words; nil when it is not page `page` of the file as it was written.
  func check(_ memory: PinnedSlice, page: Int) -> UInt64? {
    let start = unsafe memory.address
    guard unsafe start.load(as: UInt64.self) == UInt64(page),
      unsafe start.load(fromByteOffset: 12, as: UInt32.self) == seed
    else { return nil }
    let origin = unsafe start.load(fromByteOffset: 8, as: UInt32.self)
    var sum = UInt64(page)
    for word in 1..<Self.wordsPerPage {
      let found = unsafe start.load(fromByteOffset: word * 16, as: SIMD4<UInt32>.self)
      guard found == random.words(origin, UInt32(word), 0) else { return nil }
      sum &+= UInt64(found.wrappedSum())
    }
    return sum
  }
}
