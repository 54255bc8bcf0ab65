import Base
import DirectIO

/// A record that is not what was written.
package struct DamagedRecord: Sendable, Codable {
  package let block: String
  /// Those whose bytes are wrong; none when the record cannot be read.
  package let planes: [String]
  package let path: String
  package let offset: Int
  package let length: Int
  /// Steps of the generations that need it.
  package let generations: [Int]
  /// Why it cannot be read; nil when it can.
  package let cause: String?
}

/// What a scrub found.
package struct ScrubReport: Sendable, Codable {
  package let records: Int
  package let bytes: Int
  package let damaged: [DamagedRecord]
  /// What is wrong with the manifest beyond its rows, which opening has checked.
  package let manifestDamage: String?
  /// Steps of the kept generations all of whose records are whole, in ascending order.
  package let wholeGenerations: [Int]

  package var isWhole: Bool { damaged.isEmpty && manifestDamage == nil }
}

/// One version of a block with the generations that have it.
struct RecordVersion {
  let block: BlockID
  let record: Record
  /// Indices into the kept generations.
  let generations: Range<Int>
  /// The generation whose commit replaced it; nil for the last version.
  var supersededBy: Int? { isLast ? nil : generations.upperBound }
  let isLast: Bool
}

extension RecordTable {
  /// Every version that some kept generation has, in the order of their places.
  var versions: [RecordVersion] {
    var versions: [RecordVersion] = []
    var since: [BlockID: Int] = [:]
    for (index, generation) in kept.enumerated() {
      for old in generation.superseded {
        let first = since.updateValue(index, forKey: old.block) ?? 0
        guard let record = old.record else { continue }
        versions.append(
          RecordVersion(
            block: old.block, record: record, generations: first..<index, isLast: false))
      }
    }
    for (block, record) in committed {
      versions.append(
        RecordVersion(
          block: block, record: record, generations: (since[block] ?? 0)..<kept.count,
          isLast: true))
    }
    return versions.sorted {
      ($0.record.slot.path, $0.record.slot.index) < ($1.record.slot.path, $1.record.slot.index)
    }
  }
}

extension Store {
  /// Where the records of all kept generations are, and whether the last one has them.
  package var recordPlaces: [(place: RecordPlace, isOfLast: Bool)] {
    table.versions.map { (place($0.record.slot), $0.isLast) }
  }

  /// Reads every record of every kept generation and compares every plane with its checksum.
  /// - Parameter progress: told how many bytes of how many were read so far.
  package func scrub(
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(StorageError) -> ScrubReport {
    precondition(!isCommitting, "a commit under way has the lock of the manifest")
    let versions = table.versions
    let total = versions.count * geometry.recordBytes
    var damaged: [(index: Int, record: DamagedRecord)] = []
    var done = 0
    let items = versions.map {
      RecordPipeline.Item(block: $0.block, record: $0.record, source: place($0.record.slot))
    }
    try RecordPipeline(self).run(items) { index, outcome in
      done += geometry.recordBytes
      progress(done, total)
      if let found = finding(versions[index], outcome) { damaged.append((index, found)) }
    }
    try lock.lock(.manifest, .shared)
    defer { lock.unlock(.manifest) }
    let bad = Set(damaged.flatMap { Array(versions[$0.index].generations) })
    return ScrubReport(
      records: versions.count, bytes: total,
      damaged: damaged.sorted { $0.index < $1.index }.map(\.record),
      manifestDamage: manifest.fileDamage(),
      wholeGenerations: generations.indices.filter { !bad.contains($0) }.map {
        generations[$0].step
      })
  }

  private func finding(
    _ version: RecordVersion, _ outcome: RecordPipeline.Outcome
  ) -> DamagedRecord? {
    let (planes, cause): (PlaneSet, String?)
    switch outcome {
    case .whole: return nil
    case .damaged(let wrong): (planes, cause) = (wrong, nil)
    case .failed(let error): (planes, cause) = ([], "\(error)")
    }
    let place = place(version.record.slot)
    return DamagedRecord(
      block: "\(version.block)", planes: planes.planes.map { "\($0)" }, path: place.path,
      offset: place.offset, length: geometry.recordBytes,
      generations: version.generations.map { generations[$0].step }, cause: cause)
  }
}
