import Base
import Foundation
import Storage

/// The bytes of a store's files by what they hold.
struct FileMap {
  /// Files of the store, manifest and digest among them.
  let paths: [String]
  private let sizes: [String: Int]
  private let headers: [Region]
  private let records: [Region]
  private let freeSlots: [Region]
  private let manifest: String
  private let digest: String
  private let dataFiles: [String]

  struct Region {
    let path: String
    let bytes: Range<Int>
    let content: Harm.Content
  }

  init(_ store: Store, _ directories: [String]) throws {
    dataFiles = directories.map { $0 + "/pages.bin" }
    manifest = directories[0] + "/manifest.sqlite"
    digest = directories[0] + "/manifest.digest"
    paths = dataFiles + [manifest, digest]
    var sizes: [String: Int] = [:]
    for path in paths {
      let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? NSNumber
      sizes[path] = size?.intValue
    }
    self.sizes = sizes
    headers = dataFiles.map { Region(path: $0, bytes: 0..<4096, content: .header) }
    records = store.recordPlaces.map {
      Region(
        path: $0.place.path,
        bytes: $0.place.offset..<$0.place.offset + store.geometry.recordBytes,
        content: .record(isOfLast: $0.isOfLast, geometry: store.geometry))
    }
    let taken = Set(records.map { "\($0.path) \($0.bytes.lowerBound)" })
    var free: [Region] = []
    for path in dataFiles {
      let slots = Swift.stride(from: 4096, to: sizes[path] ?? 0, by: store.geometry.recordBytes)
      for offset in slots where !taken.contains("\(path) \(offset)") {
        free.append(
          Region(
            path: path, bytes: offset..<offset + store.geometry.recordBytes, content: .freeSlot))
      }
    }
    freeSlots = free
    guard records.contains(where: { !$0.isOfLast }), records.contains(where: \.isOfLast),
      !free.isEmpty, store.writtenBlocks.count < store.description.blocks
    else { throw Miss("the run lacks older records, free slots or virgin blocks") }
  }

  /// What one trial does. Kinds of files have their shares, since most bytes are those of records;
  /// among its bytes the choice is uniform.
  func pick(_ dice: inout Dice) -> Harm {
    switch dice.below(100) {
    case ..<4: flip(in: dice.pick(headers), &dice)
    case ..<52: flip(in: dice.pick(records), &dice)
    case ..<58: flip(in: dice.pick(freeSlots), &dice)
    case ..<82: flip(in: whole(manifest, .manifest), &dice)
    case ..<86: flip(in: whole(digest, .digest), &dice)
    case ..<93: cut(dice.pick(dataFiles), .dataFile, &dice)
    case ..<98: cut(manifest, .manifest, &dice)
    default: cut(digest, .digest, &dice)
    }
  }

  private func whole(_ path: String, _ content: Harm.Content) -> Region {
    Region(path: path, bytes: 0..<(sizes[path] ?? 0), content: content)
  }

  private func flip(in region: Region, _ dice: inout Dice) -> Harm {
    let byte = region.bytes.lowerBound + dice.below(region.bytes.count)
    return Harm(
      path: region.path, content: region.content, place: region.bytes,
      kind: .flip(byte: byte, bit: dice.below(8)))
  }

  /// One time in two to a length at an edge.
  private func cut(_ path: String, _ content: Harm.Content, _ dice: inout Dice) -> Harm {
    let size = sizes[path] ?? 0
    let edges = [0, 1, 4095, 4096, size - 1].filter { $0 < size }
    let length = dice.below(2) == 0 ? dice.pick(edges) : dice.below(size)
    return Harm(path: path, content: content, place: 0..<size, kind: .cut(length: length))
  }
}

extension FileMap.Region {
  fileprivate var isOfLast: Bool {
    if case .record(let isOfLast, _) = content { isOfLast } else { false }
  }
}

/// Random numbers of one trial.
struct Dice {
  private let philox: Philox
  private let trial: UInt32
  private var count: UInt32 = 0

  init(seed: UInt64, trial: Int) {
    philox = Philox(seed: seed, purpose: .test)
    self.trial = UInt32(trial)
  }

  mutating func below(_ bound: Int) -> Int {
    count += 1
    return philox.below(bound, trial, count, 0)
  }

  mutating func pick<Element>(_ choices: [Element]) -> Element { choices[below(choices.count)] }
}
