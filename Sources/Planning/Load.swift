package import DirectIO

/// What a load generator does to a file: what share of its requests writes, and where they go.
package struct Load: Hashable, Sendable {
  package enum Layout: Hashable, Sendable {
    /// One request after the other from the start of the file, around and around; reads and writes
    /// each have a place of their own, as in fio's `rw=rw`.
    case sequential
    /// Records of so many bytes at random places, each cut into requests in order, as experts are.
    case records(byteCount: Int)
  }

  package var layout: Layout
  /// From 0, only reads, to 1, only writes.
  package var writeShare: Double
  package var requestBytes: Int
  package var queueDepth: Int
  /// Reads and writes come in turns of about so many bytes; nil: evenly mixed, request by request.
  package var turnBytes: Int?

  package init(
    _ layout: Layout, writeShare: Double, requestBytes: Int, queueDepth: Int, turnBytes: Int? = nil
  ) {
    precondition(0 <= writeShare && writeShare <= 1, "a share is from 0 to 1")
    precondition(requestBytes > 0 && requestBytes % 4096 == 0, "requests are whole pages")
    precondition(queueDepth > 0, "something is under way")
    self.layout = layout
    self.writeShare = writeShare
    self.requestBytes = requestBytes
    self.queueDepth = queueDepth
    self.turnBytes = turnBytes
  }
}

/// One request of a load.
package struct Access: Hashable, Sendable {
  package let kind: Transfer.Kind
  package let offset: Int
  package let byteCount: Int
}
