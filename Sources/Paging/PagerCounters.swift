/// What a pager did since it was made.
package struct PagerCounters: Hashable, Sendable {
  /// Pages handed out by `next`.
  package internal(set) var visits = 0
  /// Visits whose planes were all resident: no read was started for them, not even by anticipation,
  /// and none was virgin.
  package internal(set) var hits = 0
  /// Visits with planes that existed nowhere.
  package internal(set) var virginVisits = 0
  /// Of the planes of visits: what was in memory before anybody read it for them.
  package internal(set) var bytesFound = 0
  /// Padding included, repeated reads not.
  package internal(set) var bytesRead = 0
  /// Part of these: read for visits that were anticipated and did not come.
  package internal(set) var anticipatedUnusedBytes = 0
  /// Of writes started.
  package internal(set) var bytesWritten = 0
  package internal(set) var pagesWritten = 0
  /// Of leaves of the scratch; not part of the two above.
  package internal(set) var scratchBytesRead = 0
  package internal(set) var scratchBytesWritten = 0
  /// Planes and leaves that were read again because their checksum was wrong.
  package internal(set) var repeatedReads = 0
  /// Time the holder waited for reads.
  package internal(set) var readStallSeconds = 0.0
  /// Time the holder waited for writes to finish.
  package internal(set) var writeStallSeconds = 0.0
  /// Time the holder waited for slots: for the generation on its way, or for a reader of old ones.
  package internal(set) var slotStallSeconds = 0.0
  /// Part of the three above: waiting for pages that were wanted as soon as they were planned.
  package internal(set) var unplannedStallSeconds = 0.0

  package init() {}

  /// All time that the holder waited.
  package var stallSeconds: Double { readStallSeconds + writeStallSeconds + slotStallSeconds }
  /// Hits per visit; 0 before the first.
  package var hitRate: Double { visits == 0 ? 0 : Double(hits) / Double(visits) }

  /// What happened since `earlier`.
  package func since(_ earlier: PagerCounters) -> PagerCounters {
    var difference = self
    difference.visits -= earlier.visits
    difference.hits -= earlier.hits
    difference.virginVisits -= earlier.virginVisits
    difference.bytesFound -= earlier.bytesFound
    difference.bytesRead -= earlier.bytesRead
    difference.anticipatedUnusedBytes -= earlier.anticipatedUnusedBytes
    difference.bytesWritten -= earlier.bytesWritten
    difference.pagesWritten -= earlier.pagesWritten
    difference.scratchBytesRead -= earlier.scratchBytesRead
    difference.scratchBytesWritten -= earlier.scratchBytesWritten
    difference.repeatedReads -= earlier.repeatedReads
    difference.readStallSeconds -= earlier.readStallSeconds
    difference.writeStallSeconds -= earlier.writeStallSeconds
    difference.slotStallSeconds -= earlier.slotStallSeconds
    difference.unplannedStallSeconds -= earlier.unplannedStallSeconds
    return difference
  }
}
