import Glibc
import Planning
import Storage

extension DriveProfile {
  init(_ findings: DriveFindings) {
    self.init(
      requestBytes: findings.requestBytes, queueDepth: findings.queueDepth,
      mixGBps: findings.mixGBps, alternatedGBps: findings.alternatedGBps, measuredAt: time(nil))
  }

  /// Measures the drive under `directory` for a few seconds; nil when that cannot be done, with a
  /// word on why; without one where there is not even memory for it.
  static func measure(_ directory: String, memoryBytes: Int) -> DriveProfile? {
    guard memoryBytes >= DriveSweep.leastWindowBytes else { return nil }
    Output.say(
      "measuring the drive of \(directory) for 3 s, this once (storage.queue_depth, "
        + "request_bytes and mixing are automatic)")
    return measure(directory, memoryBytes: memoryBytes, at: nil)
  }

  /// - Parameter shape: request size and depth to measure at; nil to find them.
  static func measure(
    _ directory: String, memoryBytes: Int, at shape: DriveSweep.Shape?
  ) -> DriveProfile? {
    do {
      var sweep = DriveSweep(directory: directory)
      sweep.windowBytes = min(sweep.windowBytes, memoryBytes)
      guard let findings = try sweep.run(at: shape) else {
        Output.say(
          "note: the drive was not measured: its file system has no O_DIRECT, or it is too slow "
            + "for the time")
        return nil
      }
      return DriveProfile(findings)
    } catch {
      Output.say("note: the drive was not measured: \(error)")
      return nil
    }
  }
}
