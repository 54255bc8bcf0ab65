import Base
import Foundation
import Storage

extension StoreInventory {
  /// The inventory for people.
  func lines() -> [String] {
    let size = blocks * recordBytes
    let planes = ["hi", "lo", "m", "v"].map { "\($0) \(ByteCount(planeBytes[$0] ?? 0))" }
    let moments = factors == nil ? "\(states)" : "factored"
    let head = [
      "store        \(identity), format \(format)",
      "blocks       \(blocks) of \(ByteCount(recordBytes)), \(ByteCount(size)) together; "
        + "\(virginBlocks) (\(fixed(100 * virginShare, 1)) %) never written",
      "precision    moments \(moments), master \(master): \(fixed(bytesPerParameter, 2)) bytes a parameter",
      "planes       " + planes.joined(separator: ", "),
    ]
    return head + [""] + table(generationRows()) + [""] + table(layerRows()) + [""]
      + table(directoryRows())
  }

  private func generationRows() -> [[String]] {
    let dates = ISO8601DateFormatter()
    return [["generation", "committed", "changed records"]]
      + generations.map {
        [
          "\($0.step)",
          dates.string(from: Date(timeIntervalSince1970: Double($0.committedAt))),
          $0.changedRecords.map(String.init) ?? "-",
        ]
      }
  }

  private func layerRows() -> [[String]] {
    [["layer", "records", "size"]]
      + layers.map {
        [$0.layer.map(String.init) ?? "dense", "\($0.records)", "\(ByteCount($0.bytes))"]
      }
  }

  private func directoryRows() -> [[String]] {
    [["directory", "records", "slots", "file", "written so far"]]
      + directories.map {
        [
          $0.directory + ($0.isDrained ? " (drained)" : ""), "\($0.records)", "\($0.slots)",
          "\(ByteCount($0.fileBytes))", "\(ByteCount($0.writtenBytes))",
        ]
      }
  }
}
