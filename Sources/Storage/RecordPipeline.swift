import Base
import DirectIO
import PinnedMemory

/// Reads records at the speed of all drives together, several at a time, compares every plane with
/// its checksum, and writes to another place those that have one.
///
/// Uses the disk alone: nothing else is in flight.
struct RecordPipeline: ~Copyable {
  struct Item {
    let block: BlockID
    let record: Record
    let source: RecordPlace
    var target: RecordPlace?
  }

  enum Outcome {
    case whole
    /// Read twice, and wrong twice.
    case damaged(PlaneSet)
    case failed(DiskError)
  }

  /// What a frame is used for.
  private struct Flight {
    let index: Int
    var isWriting = false
    var isRepeated = false
  }

  private let disk: any Disk
  private let geometry: RecordGeometry
  private let region: PinnedRegion
  private let frames: Int

  /// Enough to keep drives busy while checksums are computed.
  private static let memoryBytes = 64 << 20
  private static let framesMax = 32
  /// However large a record is: one is read from every drive and one written while another is
  /// looked at.
  private static func framesMin(drives: Int) -> Int { drives + 2 }

  init(_ store: Store) throws(StorageError) {
    let recordBytes = store.geometry.recordBytes
    let frames = max(
      Self.framesMin(drives: store.description.activePaths.count),
      min(Self.framesMax, Self.memoryBytes / recordBytes))
    let region: PinnedRegion
    do throws(MemoryError) {
      region = try PinnedRegion(
        name: "records", byteCount: frames * recordBytes,
        ledger: MemoryLedger(ceiling: frames * recordBytes))
    } catch {
      throw .memory(error)
    }
    self.frames = frames
    self.region = region
    (disk, geometry) = (store.disk, store.geometry)
  }

  /// - Parameter report: told of every item once, by its index, in the order in which they end.
  func run(_ items: [Item], _ report: (Int, Outcome) -> Void) {
    var free = Array(0..<frames)
    var flights = [Flight?](repeating: nil, count: frames)
    var waiting = Self.interleaved(items.map(\.source.file))[...]
    while true {
      while !free.isEmpty, let index = waiting.popFirst() {
        let frame = free.removeLast()
        flights[frame] = Flight(index: index)
        submit(.read, items[index].source, frame)
      }
      guard free.count < frames, let completion = disk.nextCompletion(wait: true) else { return }
      let frame = Int(completion.tag)
      guard var flight = flights[frame] else { preconditionFailure("completions have a flight") }
      if let outcome = advance(&flight, items[flight.index], frame, completion.failure) {
        report(flight.index, outcome)
        free.append(frame)
        flights[frame] = nil
      } else {
        flights[frame] = flight
      }
    }
  }

  /// The order in which to read: all files at once and each to its end at the same time, so that
  /// every drive is busy all the while; within a file as given.
  /// - Returns: indices into `files`.
  private static func interleaved(_ files: [DiskFile]) -> [Int] {
    var counts: [DiskFile: Int] = [:]
    for file in files { counts[file, default: 0] += 1 }
    guard counts.count > 1 else { return Array(files.indices) }
    var seen: [DiskFile: Int] = [:]
    let shares = files.map { file in
      let before = seen[file, default: 0]
      seen[file] = before + 1
      return (Double(before) + 0.5) / Double(counts[file]!)
    }
    return files.indices.sorted { (shares[$0], $0) < (shares[$1], $1) }
  }

  /// - Returns: how the item ended; nil when it goes on.
  private func advance(
    _ flight: inout Flight, _ item: Item, _ frame: Int, _ failure: DiskError?
  ) -> Outcome? {
    if let failure { return .failed(failure) }
    if flight.isWriting { return .whole }
    let wrong = wrongPlanes(of: item.record, frame)
    if !wrong.isEmpty {
      // The bytes on disk may be right and the transfer wrong.
      if flight.isRepeated { return .damaged(wrong) }
      flight.isRepeated = true
      submit(.read, item.source, frame)
      return nil
    }
    guard let target = item.target else { return .whole }
    flight.isWriting = true
    submit(.write, target, frame)
    return nil
  }

  private func wrongPlanes(of record: Record, _ frame: Int) -> PlaneSet {
    var wrong: PlaneSet = []
    for plane in geometry.planes.planes {
      let memory = unsafe PinnedSlice(
        address: region.memory.address + frame * geometry.recordBytes + geometry.offset(of: plane),
        byteCount: geometry.planeBytes(plane))
      if planeChecksum(of: memory) != record.checksums[plane] { wrong.insert(PlaneSet(plane)) }
    }
    return wrong
  }

  private func submit(_ kind: Transfer.Kind, _ place: RecordPlace, _ frame: Int) {
    let memory = unsafe PinnedSlice(
      address: region.memory.address + frame * geometry.recordBytes,
      byteCount: geometry.recordBytes)
    disk.submit(
      Transfer(kind, place.file, offset: place.offset, memory: memory, tag: UInt64(frame)))
  }
}
