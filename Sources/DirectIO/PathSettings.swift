import Base

/// How reads and writes share a path when both wait.
package enum Mixing: String, Codable, CaseIterable, Sendable {
  /// Together in one queue, reads first.
  case interleaved
  /// In turns: drives exist that do half as much when they must do both at once.
  case alternated
}

/// How one path of a disk is driven. What is best is the drive's own affair and found by
/// measurement; these values are right for most.
package struct PathSettings: Codable, Hashable, Sendable {
  /// Transfers are cut into requests of at most so many bytes, a multiple of 4096.
  package var requestBytes: Int
  /// Requests that may be under way at once. No more than the drive needs to be busy: what is
  /// under way goes before a demand.
  package var queueDepth: Int
  package var mixing: Mixing

  package init(
    requestBytes: Int = 1 << 20, queueDepth: Int = 8, mixing: Mixing = .interleaved
  ) {
    precondition(requestBytes > 0 && requestBytes % 4096 == 0, "requests are whole pages")
    precondition(1 <= queueDepth && queueDepth <= 4096, "1 to 4096 requests at once")
    self.requestBytes = requestBytes
    self.queueDepth = queueDepth
    self.mixing = mixing
  }

  /// - Throws: `DecodingError` for values that no path can be driven with.
  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    let requestBytes = try values.decode(Int.self, forKey: .requestBytes)
    let queueDepth = try values.decode(Int.self, forKey: .queueDepth)
    guard requestBytes > 0, requestBytes % 4096 == 0, requestBytes <= 1 << 30,
      1...4096 ~= queueDepth
    else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "out of range"))
    }
    self.init(
      requestBytes: requestBytes, queueDepth: queueDepth,
      mixing: try values.decode(Mixing.self, forKey: .mixing))
  }
}

/// What a disk is opened with.
package struct DiskSettings: Sendable {
  package var engine: EnginePreference
  /// How a ring is set up; nil for what the kernel does best.
  package var ringMode: RingMode?
  /// Whether a thread of its own drives the disk, so that requests begin and end while the owner
  /// computes.
  package var hasThread = false
  /// Of paths that are not named.
  package var standard: PathSettings
  /// By directory, as files are opened.
  package var byDirectory: [String: PathSettings] = [:]

  package init(
    engine: EnginePreference = .automatic, ringMode: RingMode? = nil,
    standard: PathSettings = PathSettings()
  ) {
    self.engine = engine
    self.ringMode = ringMode
    self.standard = standard
  }

  func settings(for directory: String) -> PathSettings { byDirectory[directory] ?? standard }

  /// Of the paths as far as they are known; of one at least.
  var queueDepths: [Int] {
    byDirectory.isEmpty ? [standard.queueDepth] : byDirectory.values.map(\.queueDepth)
  }
}
