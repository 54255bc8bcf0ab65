import Base

/// What is on a simulated drive: it survives the disk that wrote it, so that a restart can open the
/// same files again.
///
/// Every file is two images: what reads see, and what has been synced. Their difference is a list
/// of writes, and a crash decides by seed what becomes of each.
package final class SimulatedMedium {
  private struct File {
    var image: [UInt8]
    var durable: DurableImage
  }

  package let seed: UInt64
  /// Bytes that all files together may have.
  package let capacityBytes: Int
  private var files: [String: File] = [:]
  private(set) package var crashes = 0
  /// Crashes and failed syncs.
  private var occasions = 0

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
      file.durable = DurableImage(synced: file.image)
    }
  }

  /// Turns one bit over, durably: decay of the medium.
  package func flipBit(of path: String, byte: Int, bit: Int) {
    change(path) { file in
      file.image[byte] ^= 1 << bit
      file.durable.flipBit(byte: byte, bit: bit)
    }
  }

  /// Durably, as `create`.
  func grow(_ path: String, to byteCount: Int) {
    change(path) { file in
      file.image.append(contentsOf: repeatElement(0, count: byteCount - file.image.count))
      file.durable.grow(to: byteCount)
    }
  }

  /// Power fails. Each unsynced write is lost, or arrives whole, or arrives in some of its
  /// sectors; by seed.
  package func crash() {
    crashes += 1
    occasions += 1
    var fates = Fates(seed: seed, occasion: occasions)
    for path in paths {
      change(path) { file in
        file.durable.settle(&fates)
        file.image = file.durable.synced
      }
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
  case errand = 9
}

/// For the disk.
extension SimulatedMedium {
  var freeBytes: Int { files.values.reduce(capacityBytes) { $0 - $1.image.count } }

  func create(_ path: String, byteCount: Int) {
    let zeros = [UInt8](repeating: 0, count: byteCount)
    files[path] = File(image: zeros, durable: DurableImage(synced: zeros))
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
      }
      file.image.replaceSubrange(offset..<end, with: bytes)
      file.durable.add(.write(offset: offset, bytes))
    }
  }

  func sync(_ path: String) { change(path) { $0.durable.sync() } }

  /// The kernel forgets what it could not write: reads see it, and no later sync makes it durable.
  func failSync(_ path: String) {
    occasions += 1
    var fates = Fates(seed: seed, occasion: occasions)
    change(path) { $0.durable.settle(&fates) }
  }
}
