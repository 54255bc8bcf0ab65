internal import Base
internal import CNuma
import Glibc

/// On which memory nodes the pages of a region are, counted one by one with move_pages.
package struct PageCensus: Hashable, Sendable {
  /// Pages of 4 KiB on each node; a huge page counts as 512.
  package let pagesByNode: [Int: Int]
  /// Pages that are on no node: never touched, or swapped out.
  package let absentPages: Int

  package var pages: Int { absentPages + pagesByNode.values.reduce(0, +) }

  /// Present pages outside `placement`.
  package func misplaced(from placement: MemoryPlacement) -> Int {
    guard placement != .anywhere else { return 0 }
    return pagesByNode.filter { !placement.nodes.contains($0.key) }.values.reduce(0, +)
  }

  private static let pageBytes = 4096
  private static let pagesAtOnce = 16384

  /// Asks the kernel about every page of `memory`; changes nothing.
  /// - Returns: nil where the kernel does not answer, as in containers without CAP_SYS_NICE.
  package static func of(_ memory: PinnedSlice) -> PageCensus? {
    var byNode: [Int: Int] = [:]
    var absent = 0
    let pages = (memory.byteCount + pageBytes - 1) / pageBytes
    for first in stride(from: 0, to: pages, by: pagesAtOnce) {
      let count = min(pagesAtOnce, pages - first)
      var addresses = unsafe (first..<first + count).map { page in
        unsafe Optional(memory.address + page * pageBytes)
      }
      var status = [Int32](repeating: 0, count: count)
      guard unsafe move_pages(0, UInt(count), &addresses, nil, &status, 0) == 0 else { return nil }
      for node in status {
        if node >= 0 { byNode[Int(node), default: 0] += 1 } else { absent += 1 }
      }
    }
    return PageCensus(pagesByNode: byNode, absentPages: absent)
  }
}

/// Bytes of the mapping around `address` that are on huge pages, as /proc/self/smaps says now.
func hugePageBytes(around address: UnsafeMutableRawPointer) -> Int {
  let wanted = UInt(bitPattern: address)
  var isInside = false
  var bytes = 0
  for line in (text(of: "/proc/self/smaps") ?? "").split(separator: "\n") {
    let words = line.split(separator: " ", omittingEmptySubsequences: true)
    let ends = words[0].split(separator: "-")
    if ends.count == 2, let start = UInt(ends[0], radix: 16), let end = UInt(ends[1], radix: 16) {
      if isInside { break }
      isInside = start <= wanted && wanted < end
    } else if isInside, words.count > 1,
      ["AnonHugePages:", "Private_Hugetlb:"].contains(String(words[0]))
    {
      bytes += (Int(words[1]) ?? 0) * 1024
    }
  }
  return bytes
}
