import Base

/// What is on a simulated drive: it survives the disk that wrote it, so that a restart can open the
/// same files again.
///
/// Every file is two images: what reads see, and what has been synced. Their difference is a list
/// of writes, and a crash decides by seed what becomes of each.
package final class SimulatedMedium {
  /// The unit that a drive writes whole.
  private static let sectorBytes = 512

  private struct Write {
    let offset: Int
    let bytes: [UInt8]
  }
  private struct File {
    var image: [UInt8]
    var synced: [UInt8]
    var unsynced: [Write] = []
  }

  package let seed: UInt64
  /// Bytes that all files together may have.
  package let capacityBytes: Int
  private var files: [String: File] = [:]
  private(set) package var crashes = 0

  package init(seed: UInt64, capacityBytes: Int = .max) {
    self.seed = seed
    self.capacityBytes = capacityBytes
  }

  package var paths: [String] { files.keys.sorted() }
  package func byteCount(of path: String) -> Int? { files[path]?.image.count }
  /// What a read of the whole file sees.
  package func contents(of path: String) -> [UInt8]? { files[path]?.image }
  package func remove(_ path: String) { files[path] = nil }

  /// Cuts a file, as a mishandled copy would.
  package func truncate(_ path: String, to byteCount: Int) {
    change(path) { file in
      precondition(byteCount <= file.image.count, "a file is cut, not stretched")
      file.image.removeLast(file.image.count - byteCount)
      file.synced = file.image
      file.unsynced = []
    }
  }

  /// Turns one bit over, durably: decay of the medium.
  package func flipBit(of path: String, byte: Int, bit: Int) {
    change(path) { file in
      file.image[byte] ^= 1 << bit
      file.synced[byte] ^= 1 << bit
    }
  }

  /// Durably, as `create`.
  func grow(_ path: String, to byteCount: Int) {
    change(path) { file in
      let zeros = [UInt8](repeating: 0, count: byteCount - file.image.count)
      file.image += zeros
      file.synced += zeros
    }
  }

  /// Power fails. Each unsynced write is lost, or arrives whole, or arrives in some of its
  /// sectors; by seed, and independently, since drives reorder.
  package func crash() {
    let random = Philox(seed: seed, purpose: .test)
    crashes += 1
    var number: UInt32 = 0
    for path in paths {
      change(path) { file in
        for write in file.unsynced {
          number += 1
          Self.land(write, on: &file.synced, random, UInt32(crashes), number)
        }
        file.unsynced = []
        file.image = file.synced
      }
    }
  }

  private static func land(
    _ write: Write, on image: inout [UInt8], _ random: Philox, _ crash: UInt32, _ number: UInt32
  ) {
    enum Fate: CaseIterable { case lost, whole, torn }
    let fates = Fate.allCases
    let fate = fates[random.below(fates.count, Draw.crash.rawValue | crash << 8, number, 0)]
    for start in stride(from: 0, to: write.bytes.count, by: sectorBytes) {
      let sector = UInt32(start / sectorBytes) + 1
      let coin = random.below(2, Draw.crash.rawValue | crash << 8, number, sector)
      guard fate == .whole || fate == .torn && coin == 1 else { continue }
      let end = min(start + sectorBytes, write.bytes.count)
      image.replaceSubrange(
        write.offset + start..<write.offset + end, with: write.bytes[start..<end])
    }
  }

  private func change(_ path: String, _ body: (inout File) -> Void) {
    guard files[path] != nil else { preconditionFailure("\(path) is on the medium") }
    body(&files[path]!)
  }
}

/// What a random number of the simulation decides: the low byte of the generator's first counter.
enum Draw: UInt32 {
  case crash = 1
  case delay = 2
  case order = 3
  case flippedBit = 4
  case fate = 5
  case errno = 6
  case length = 7
  case taken = 8
}

/// For the disk.
extension SimulatedMedium {
  var freeBytes: Int { files.values.reduce(capacityBytes) { $0 - $1.image.count } }

  func create(_ path: String, byteCount: Int) {
    let zeros = [UInt8](repeating: 0, count: byteCount)
    files[path] = File(image: zeros, synced: zeros)
  }

  /// - Returns: the bytes that are there, fewer than asked at the end of the file.
  func read(_ path: String, _ range: Range<Int>) -> ArraySlice<UInt8> {
    guard let image = files[path]?.image else { return [] }
    return image[range.clamped(to: 0..<image.count)]
  }

  func write(_ path: String, offset: Int, _ bytes: [UInt8]) {
    change(path) { file in
      let end = offset + bytes.count
      if end > file.image.count {
        file.image.append(contentsOf: repeatElement(0, count: end - file.image.count))
        file.synced.append(contentsOf: repeatElement(0, count: end - file.synced.count))
      }
      file.image.replaceSubrange(offset..<end, with: bytes)
      file.unsynced.append(Write(offset: offset, bytes: bytes))
    }
  }

  func sync(_ path: String) {
    change(path) { file in
      for write in file.unsynced {
        let end = write.offset + write.bytes.count
        file.synced.replaceSubrange(write.offset..<end, with: write.bytes)
      }
      file.unsynced = []
    }
  }
}
