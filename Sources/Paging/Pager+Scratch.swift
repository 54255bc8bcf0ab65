package import Base
import DirectIO
package import PinnedMemory
package import Storage
import Tracing

/// Names a scratch of a pager: they are numbered from 0 as they are opened.
package struct ScratchID: Hashable, Sendable {
  let index: Int

  package init(_ index: Int) { self.index = index }
}

/// The scratches move with the records: one disk, one queue for each path, one who hears what ends.
extension Pager {
  /// Gives the pager a scratch, of memory that `ledger` grants.
  /// - Parameter setting: without its files, as errors name it.
  /// - Throws: `StorageError.scratch` when a path has no room for its file.
  package mutating func openScratch(
    _ name: String, _ size: ScratchSize, avoidedBy setting: String, ledger: MemoryLedger
  ) throws(StorageError) -> ScratchID {
    scratches.append(
      try Scratch(
        name, number: scratches.count, size, avoidedBy: setting, on: store, ledger: ledger))
    return ScratchID(scratches.count - 1)
  }

  /// Makes `leaf` what `fill` writes, `count` elements, and begins to write it behind. Waits only
  /// when the disk is late.
  /// - Throws: `StorageError.scratch`, of this or an earlier transfer.
  package mutating func writeLeaf<Element: BitwiseCopyable>(
    _ leaf: Int, of id: ScratchID, count: Int, _ fill: (inout MutableSpan<Element>) -> Void
  ) throws(StorageError) {
    let memory = try holdEmpty(
      leaf, of: id, byteCount: count * MemoryLayout<Element>.stride)
    var span = unsafe MutableSpan(
      _unsafeStart: memory.address.assumingMemoryBound(to: Element.self), count: count)
    fill(&span)
    writeHeld(leaf, of: id)
  }

  /// Shows `use` the `count` elements of `leaf` as they were written, and reads ahead those of lower
  /// numbers.
  /// - Throws: `StorageError.scratch`, of this or an earlier transfer.
  package mutating func readLeaf<Element: BitwiseCopyable>(
    _ leaf: Int, of id: ScratchID, count: Int, _ use: (Span<Element>) -> Void
  ) throws(StorageError) {
    let memory = try holdWritten(
      leaf, of: id, byteCount: count * MemoryLayout<Element>.stride)
    use(
      unsafe Span(
        _unsafeStart: memory.address.assumingMemoryBound(to: Element.self), count: count))
    letGo(leaf, of: id)
  }

  /// The memory of `leaf`, whole pages for `byteCount` bytes, for its holder to fill until `writeHeld`.
  /// Waits only when the disk is late.
  /// - Throws: `StorageError.scratch`, of this or an earlier transfer.
  package mutating func holdEmpty(
    _ leaf: Int, of id: ScratchID, byteCount: Int
  ) throws(StorageError) -> PinnedSlice {
    let (scratch, frame) = try hold(leaf, of: id) { pager, scratch, frame in
      pager.wait(for: frame)
      pager.settle(frame, scratch)
    }
    let memory = frame.memory(byteCount)
    frame.leaf = leaf
    scratch.written[leaf] = Scratch.Written(byteCount: memory.byteCount)
    return memory
  }

  /// Begins to write behind what the holder has filled.
  package mutating func writeHeld(_ leaf: Int, of id: ScratchID) {
    let scratch = scratches[id.index]
    let frame = scratch.frame(of: leaf)
    guard let byteCount = scratch.written[leaf]?.byteCount, frame.leaf == leaf else {
      preconditionFailure("a leaf is held before it is written")
    }
    guard scratch.size.isOnDisk else { return }
    precondition(frame.sum == nil, "a leaf is written once")
    frame.sum = (LeafSum(frame.memory(byteCount), offer: offer), .write)
    start(.write, leaf, frame, .writeBack, scratch)
    store.disk.start()
  }

  /// The memory of `leaf` as it was written, for its holder to read until `letGo`, and not to change: its
  /// checksum may be under way. Those of lower numbers are read ahead.
  /// - Throws: `StorageError.scratch`, of this or an earlier transfer.
  package mutating func holdWritten(
    _ leaf: Int, of id: ScratchID, byteCount: Int
  ) throws(StorageError) -> PinnedSlice {
    let (scratch, frame) = try hold(leaf, of: id) { pager, scratch, frame in
      if frame.leaf != leaf { pager.wait(for: frame) }
      pager.readAhead(from: leaf, scratch)
      while scratch.failure == nil, frame.transfer == .read || frame.sum?.of == .read {
        pager.wait(for: frame)
        pager.compare(leaf, frame, scratch)
      }
    }
    let memory = frame.memory(byteCount)
    precondition(scratch.written[leaf]?.byteCount == memory.byteCount, "what was written is read")
    return memory
  }

  /// The frame of `leaf`, when `prepare` has waited for what its holder cannot have it beside.
  private mutating func hold(
    _ leaf: Int, of id: ScratchID, _ prepare: (inout Pager, Scratch, ScratchFrame) -> Void
  ) throws(StorageError) -> (Scratch, ScratchFrame) {
    let scratch = scratches[id.index]
    pump()
    let frame = scratch.frame(of: leaf)
    prepare(&self, scratch, frame)
    if let failure = scratch.failure { throw failure }
    return (scratch, frame)
  }

  /// The frame of `leaf` may be read into.
  package mutating func letGo(_ leaf: Int, of id: ScratchID) {
    readAhead(from: leaf - 1, scratches[id.index])
    store.disk.start()
  }

  var transfersInFlight: Int { operations.count + scratches.reduce(0) { $0 + $1.inFlight.count } }

  /// Starts reading those of `leaf` and the leaves below it that have a frame each and are not there.
  private mutating func readAhead(from leaf: Int, _ scratch: Scratch) {
    guard scratch.size.isOnDisk, scratch.failure == nil else { return }
    for number in stride(from: leaf, to: max(-1, leaf - scratch.frames.count), by: -1) {
      let frame = scratch.frame(of: number)
      guard frame.leaf != number, frame.transfer == nil else { continue }
      settle(frame, scratch)
      frame.leaf = number
      start(.read, number, frame, .prefetch, scratch)
    }
  }

  private mutating func start(
    _ kind: Transfer.Kind, _ leaf: Int, _ frame: ScratchFrame, _ priority: Transfer.Priority,
    _ scratch: Scratch
  ) {
    guard let written = scratch.written[leaf] else {
      preconditionFailure("a leaf is read after it was written")
    }
    let place = scratch.place(of: leaf)
    (frame.transfer, frame.tag) = (kind, nextTag)
    scratch.inFlight[nextTag] = frame
    let memory = frame.memory(written.byteCount)
    frame.traced = noteSubmitted(kind, memory.byteCount, at: place.file)
    store.disk.submit(
      Transfer(
        kind, place.file, offset: place.offset, memory: memory, tag: nextTag, priority: priority))
    nextTag += 1
    if kind == .write { counters.scratchBytesWritten += written.byteCount }
  }

  /// Until no transfer of `frame` is in flight; others may end meanwhile.
  private mutating func wait(for frame: ScratchFrame) {
    while let kind = frame.transfer {
      store.disk.promote(tag: frame.tag)
      waitForCompletion(for: kind == .read ? .read : .write)
    }
  }

  /// Books a finished transfer of a scratch.
  mutating func finishScratch(_ completion: Completion) {
    guard let scratch = scratches.first(where: { $0.inFlight[completion.tag] != nil }),
      let frame = scratch.inFlight.removeValue(forKey: completion.tag),
      let kind = frame.transfer, let leaf = frame.leaf
    else { preconditionFailure("completions answer transfers of this pager") }
    frame.transfer = nil
    let byteCount = frame.memory(scratch.written[leaf]?.byteCount ?? 0).byteCount
    noteEnded(kind, leaf: leaf, byteCount, frame.traced, hasFailed: completion.failure != nil)
    if let failure = completion.failure {
      scratch.failure = scratch.failure ?? .scratch(failure, avoidedBy: scratch.setting)
    } else if kind == .read {
      counters.scratchBytesRead += byteCount
      precondition(frame.sum == nil, "a frame is settled before it is read into")
      frame.sum = (LeafSum(frame.memory(byteCount), offer: offer), .read)
    }
  }

  /// Before other bytes come into a frame: the checksum of what was written from it is known then. What
  /// was read in vain is not compared.
  private func settle(_ frame: ScratchFrame, _ scratch: Scratch) {
    guard let (sum, kind) = frame.sum, let leaf = frame.leaf else { return }
    switch kind {
    case .write: scratch.written[leaf]?.checksum = sum.value(forEach)
    case .read: sum.cancel()
    }
    frame.sum = nil
  }

  /// Accepts a leaf that was read when it has its checksum; else reads it once more, because the bytes on
  /// disk may be right and the transfer wrong.
  private mutating func compare(_ leaf: Int, _ frame: ScratchFrame, _ scratch: Scratch) {
    guard let sum = frame.sum, sum.of == .read, let written = scratch.written[leaf] else { return }
    precondition(frame.leaf == leaf, "what is held is compared")
    frame.sum = nil
    if sum.sum.value(forEach) == written.checksum {
      frame.isRepeated = false
      return
    }
    counters.scratchBytesRead -= written.byteCount
    if !frame.isRepeated {
      frame.isRepeated = true
      counters.repeatedReads += 1
      start(.read, leaf, frame, .demand, scratch)
    } else {
      let place = scratch.place(of: leaf)
      let failure = DiskError(
        .read, path: store.disk.path(of: place.file), offset: place.offset,
        length: written.byteCount, code: 0,
        remedy: "twice it gave other bytes than were written; check the drive (smartctl)")
      scratch.failure = scratch.failure ?? .scratch(failure, avoidedBy: scratch.setting)
    }
  }
}
