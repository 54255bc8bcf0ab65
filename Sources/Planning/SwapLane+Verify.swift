import DirectIO
import PinnedMemory

/// What was read and compared with what had been written.
struct Verified: Hashable, Sendable {
  var pages = 0
  /// The sum of the words of the pages: they were looked at.
  var checksum: UInt64 = 0
}

extension SwapLane {
  /// Proves that this engine, at this request size and depth, gives back what it was given: writes
  /// one set of pieces, reads it while it writes another, and reads that. Not timed; overwrites the
  /// start of the file.
  func verify(
    requestBytes: Int, queueDepth: Int, fileBytes: Int, path: String, seed: UInt64
  ) -> Result<Verified, ProbeError> {
    let count = max(1, min(fileBytes / requestBytes / 2, 2 * queueDepth, (64 << 20) / requestBytes))
    let (first, second) = (0..<count, count..<2 * count)
    let mix = zip(first, second).flatMap { [(Transfer.Kind.read, $0), (.write, $1)] }
    let steps = [first.map { (Transfer.Kind.write, $0) }, mix, second.map { (.read, $0) }]
    var verified = Verified()
    do throws(ProbeError) {
      for step in steps {
        for start in stride(from: 0, to: step.count, by: queueDepth) {
          let batch = Array(step[start..<min(start + queueDepth, step.count)])
          try move(batch, requestBytes, path, ScratchPages(seed: seed), &verified)
        }
      }
      return .success(verified)
    } catch { return .failure(error) }
  }

  /// Carries out accesses to pieces of the file, all at once, and checks every page that was read.
  private func move(
    _ batch: [(kind: Transfer.Kind, piece: Int)], _ requestBytes: Int, _ path: String,
    _ pages: ScratchPages, _ verified: inout Verified
  ) throws(ProbeError) {
    let pagesPerPiece = requestBytes / ScratchPages.pageBytes
    for (slot, access) in batch.enumerated() {
      let memory = window.part(from: slot * requestBytes, byteCount: requestBytes)
      if access.kind == .write {
        pages.fill(memory)
        pages.stamp(memory, firstPage: access.piece * pagesPerPiece, origin: 0)
      }
      submit(access.kind, offset: access.piece * requestBytes, memory, tag: slot)
    }
    var failure: DiskError?
    while let completion = disk.nextCompletion(wait: true) {
      failure = failure ?? completion.failure
    }
    if let failure { throw .disk(failure) }
    for (slot, access) in batch.enumerated() where access.kind == .read {
      for page in 0..<pagesPerPiece {
        let start = slot * requestBytes + page * ScratchPages.pageBytes
        let memory = window.part(from: start, byteCount: ScratchPages.pageBytes)
        let place = access.piece * pagesPerPiece + page
        guard let sum = pages.check(memory, page: place) else {
          throw .wrongData(path: path, offset: place * ScratchPages.pageBytes)
        }
        verified.pages += 1
        verified.checksum &+= sum
      }
    }
  }
}
