import Base
import DirectIO
import Glibc
import PinnedMemory
import Simulation
import Testing

/// Random records written, read and compared over two paths of the real disk, whose queues take
/// fewer requests than they are offered, cut transfers short, refuse them, and keep answers back.
///
/// `PAGODA_VERIFY_BYTES` says how much is read and compared with each engine.
@Suite struct TroubledDiskTests {
  static let bytes = unsafe getenv("PAGODA_VERIFY_BYTES").flatMap {
    unsafe Int(String(cString: $0))
  }
  static let hasRing = RingFacts.probe().refusal == nil

  @Test(
    "Partial submissions and transfers, EINTR, EAGAIN, EIO that goes away: rings",
    .enabled(if: hasRing), arguments: [UInt64(1), 2])
  func nothingIsLostThroughRings(_ seed: UInt64) throws {
    for mixing in Mixing.allCases {
      let mischief = Mischief()
      var lanes: UInt64 = 0
      let disk = PathDisk<TroubledQueue<Ring>>(Exchange.settings(mixing)) {
        _, depth throws(DiskError) in
        lanes += 1
        return TroubledQueue(try Exchange.ring(depth), seed: seed &+ lanes, record: mischief)
      }
      try exchange(over: disk, mischief, seed: seed)
    }
  }

  @Test(
    "Partial submissions and transfers, EINTR, EAGAIN, EIO that goes away: threads",
    arguments: [UInt64(3)])
  func nothingIsLostThroughThreads(_ seed: UInt64) throws {
    let mischief = Mischief()
    var lanes: UInt64 = 0
    let disk = PathDisk<TroubledQueue<ThreadQueue>>(Exchange.settings(.interleaved)) { _, depth in
      lanes += 1
      return TroubledQueue(ThreadQueue(depth: depth), seed: seed &+ lanes, record: mischief)
    }
    try exchange(over: disk, mischief, seed: seed)
  }

  @Test(
    "Partial submissions and transfers, EINTR, EAGAIN, EIO that goes away: rings on a thread",
    .enabled(if: hasRing), arguments: [UInt64(4)])
  func nothingIsLostInTheBackground(_ seed: UInt64) throws {
    let mischief = Mischief()
    let disk = try BackgroundDisk { event in
      var lanes: UInt64 = 0
      return PathDisk<TroubledQueue<Ring>>(Exchange.settings(.alternated), event: event) {
        _, depth throws(DiskError) in
        lanes += 1
        return TroubledQueue(try Exchange.ring(depth), seed: seed &+ lanes, record: mischief)
      }
    }
    try exchange(over: disk, mischief, seed: seed)
  }

  private func exchange(over disk: any Disk, _ mischief: Mischief, seed: UInt64) throws {
    let exchange = try Exchange(disk, seed: seed)
    let wanted = Self.bytes ?? 40_000_000
    let mismatches = try exchange.run(comparing: wanted)
    #expect(mismatches == 0)
    #expect(exchange.bytesCompared >= wanted)
    // Both paths took part, and things did go wrong.
    #expect(disk.pathCounters.count == 2)
    for path in disk.pathCounters { #expect(path.counters.bytesRead > wanted / 4) }
    #expect(mischief.short > 10 && mischief.refused > 10 && mischief.late > 10)
    #expect(mischief.partial > 10)
    #expect(disk.counters.retries >= mischief.short + mischief.refused)
  }
}

/// Writes and reads records of random lengths at random places, many at once, and knows what each
/// place must hold.
private final class Exchange {
  private static let placeBytes = 1 << 20
  private static let placesPerFile = 24
  private static let buffers = 16

  /// What a place of a file holds; version 0 is nothing yet.
  private struct Place {
    var version: UInt32 = 0
    var byteCount = 0
    var isBusy = false
  }
  private struct Operation {
    let kind: Transfer.Kind
    let place: Int
    let buffer: Int
    let byteCount: Int
  }

  private(set) var bytesCompared = 0
  private let disk: any Disk
  private let scratch = Scratch()
  private let files: [DiskFile]
  private let memory: Memory
  private let random: Philox
  private let words: Philox
  private var places: [Place]
  private var freeBuffers = Array(0..<buffers)
  private var operations: [UInt64: Operation] = [:]
  private var draws: UInt32 = 0
  private var nextVersion: UInt32 = 1

  static func settings(_ mixing: Mixing) -> DiskSettings {
    DiskSettings(
      standard: PathSettings(requestBytes: 256 << 10, queueDepth: 8, mixing: mixing))
  }

  static func ring(_ depth: Int) throws(DiskError) -> Ring {
    do throws(RingRefusal) {
      return try Ring(entries: depth, mode: nil)
    } catch {
      throw DiskError(.open, path: "ring", code: error.code, remedy: error.description)
    }
  }

  init(_ disk: any Disk, seed: UInt64) throws {
    self.disk = disk
    random = Philox(seed: seed, purpose: .test)
    words = Philox(seed: seed &+ 1, purpose: .test)
    memory = Memory(pages: Self.buffers * Self.placeBytes / 4096)
    disk.register(memory.slice)
    let fileBytes = Self.placesPerFile * Self.placeBytes
    files = try ["a", "b"].map { [scratch] name in
      unsafe mkdir(scratch.file(name), 0o700)
      return try disk.openFile(scratch.file("\(name)/data"), byteCount: fileBytes, .create)
    }
    places = Array(repeating: Place(), count: 2 * Self.placesPerFile)
  }

  deinit { disk.close() }

  /// - Returns: places that did not hold what was written there.
  func run(comparing wanted: Int) throws -> Int {
    var mismatches = 0
    while bytesCompared < wanted || disk.inFlight > 0 {
      while bytesCompared < wanted, !freeBuffers.isEmpty, begin() {}
      disk.start()
      guard let completion = disk.nextCompletion(wait: draw(4) > 0) else { continue }
      if let failure = completion.failure { throw failure }
      mismatches += finish(completion.tag) ? 0 : 1
    }
    return mismatches
  }

  /// Begins something at a random place; false when that is in use.
  private func begin() -> Bool {
    let place = draw(places.count)
    guard !places[place].isBusy, let buffer = freeBuffers.popLast() else { return false }
    let isRead = places[place].version > 0 && draw(2) == 0
    let slice: PinnedSlice
    if isRead {
      slice = part(buffer, places[place].byteCount)
      unsafe _ = memset(slice.address, 0x5a, slice.byteCount)
    } else {
      places[place].byteCount = (1 + draw(Self.placeBytes / 4096)) * 4096
      places[place].version = nextVersion
      nextVersion += 1
      slice = part(buffer, places[place].byteCount)
      fill(slice, places[place].version)
    }
    places[place].isBusy = true
    let tag = UInt64(draws)
    let priorities = Transfer.Priority.allCases
    let priority = isRead ? priorities[draw(2)] : .writeBack
    operations[tag] = Operation(
      kind: isRead ? .read : .write, place: place, buffer: buffer, byteCount: slice.byteCount)
    disk.submit(
      Transfer(
        isRead ? .read : .write, files[place / Self.placesPerFile],
        offset: place % Self.placesPerFile * Self.placeBytes, memory: slice, tag: tag,
        priority: priority))
    if isRead, draw(3) == 0 { disk.promote(tag: tag) }
    return true
  }

  private func finish(_ tag: UInt64) -> Bool {
    guard let operation = operations.removeValue(forKey: tag) else {
      preconditionFailure("completions answer transfers")
    }
    places[operation.place].isBusy = false
    freeBuffers.append(operation.buffer)
    guard operation.kind == .read else { return true }
    bytesCompared += operation.byteCount
    return holds(part(operation.buffer, operation.byteCount), places[operation.place].version)
  }

  private func part(_ buffer: Int, _ byteCount: Int) -> PinnedSlice {
    let first = buffer * Self.placeBytes / 4096
    return memory.pages(first..<first + byteCount / 4096)
  }

  private func fill(_ slice: PinnedSlice, _ version: UInt32) {
    let bytes = unsafe slice.bytes
    unsafe bytes.withMemoryRebound(to: SIMD4<UInt32>.self) { words in
      for index in words.indices {
        unsafe words[index] = self.words.words(UInt32(index), version, 0)
      }
    }
  }

  private func holds(_ slice: PinnedSlice, _ version: UInt32) -> Bool {
    let bytes = unsafe slice.bytes
    return unsafe bytes.withMemoryRebound(to: SIMD4<UInt32>.self) { words in
      words.indices.allSatisfy { index in
        unsafe words[index] == self.words.words(UInt32(index), version, 0)
      }
    }
  }

  private func draw(_ bound: Int) -> Int {
    draws += 1
    return random.below(bound, draws, 0, 0)
  }
}
