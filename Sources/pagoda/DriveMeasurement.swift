import Glibc
import Planning
import Storage

extension DriveProfile {
  init(_ findings: DriveFindings) {
    self.init(
      requestBytes: findings.requestBytes, queueDepth: findings.queueDepth,
      mixGBps: findings.mixGBps, alternatedGBps: findings.alternatedGBps, measuredAt: time(nil))
  }

  /// Measures the drive under `directory` for a few seconds; nil, with a word on why, when that
  /// cannot be done.
  static func measure(_ directory: String) -> DriveProfile? {
    Output.say(
      "measuring the drive of \(directory) for 3 s, this once (storage.queue_depth, "
        + "request_bytes and mixing are automatic)")
    return measure(directory, at: nil)
  }

  /// - Parameter shape: request size and depth to measure at; nil to find them.
  static func measure(_ directory: String, at shape: DriveSweep.Shape?) -> DriveProfile? {
    do {
      return DriveProfile(try DriveSweep(directory: directory).run(at: shape))
    } catch {
      Output.say("note: the drive was not measured: \(error)")
      return nil
    }
  }
}
