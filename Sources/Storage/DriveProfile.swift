package import DirectIO

/// What was measured of a drive, and how it is therefore driven.
package struct DriveProfile: Codable, Hashable, Sendable {
  /// Shares of writes at which `mixGBps` was measured.
  package static let writeShares = [0, 0.25, 0.5, 0.75, 1]
  /// Turns must do so much better than both at once before they are taken: they idle in between.
  private static let turnsPay = 1.1

  package let settings: PathSettings
  /// Reads and writes together, by `writeShares`; GB = 1e9 bytes.
  package let mixGBps: [Double]
  /// Half reads and half writes, in turns.
  package let alternatedGBps: Double
  /// Seconds since 1970.
  package let measuredAt: Int

  /// - Parameters:
  ///   - requestBytes, queueDepth: what serves the drive best.
  ///   - mixGBps: one rate for each of `writeShares`.
  package init(
    requestBytes: Int, queueDepth: Int, mixGBps: [Double], alternatedGBps: Double, measuredAt: Int
  ) {
    precondition(mixGBps.count == Self.writeShares.count, "a rate for each share of writes")
    let isBetterInTurns = alternatedGBps > Self.turnsPay * mixGBps[2]
    settings = PathSettings(
      requestBytes: requestBytes, queueDepth: queueDepth,
      mixing: isBetterInTurns ? .alternated : .interleaved)
    self.mixGBps = mixGBps
    self.alternatedGBps = alternatedGBps
    self.measuredAt = measuredAt
  }

  /// - Throws: `DecodingError` for what no measurement gives.
  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    settings = try values.decode(PathSettings.self, forKey: .settings)
    mixGBps = try values.decode([Double].self, forKey: .mixGBps)
    alternatedGBps = try values.decode(Double.self, forKey: .alternatedGBps)
    measuredAt = try values.decode(Int.self, forKey: .measuredAt)
    guard mixGBps.count == Self.writeShares.count,
      (mixGBps + [alternatedGBps]).allSatisfy({ $0 > 0 && $0.isFinite })
    else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "not rates of a drive"))
    }
  }

  /// What training gets of the drive: it reads about as much as it writes. Records are shared out
  /// over the paths in this proportion.
  package var pagingGBps: Double {
    settings.mixing == .alternated ? alternatedGBps : mixGBps[2]
  }
}
