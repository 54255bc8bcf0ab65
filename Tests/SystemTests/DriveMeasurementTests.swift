import DirectIO
import Foundation
import Storage
import TestSupport
import Testing

/// A drive is measured by the first run on it, and known to all later ones.
@Suite struct DriveMeasurementTests {
  @Test func aNewDriveIsMeasuredOnce() throws {
    let workplace = try Workplace()
    let cache = try TemporaryDirectory()
    let profiles = DriveProfiles(path: cache.path + "/pagoda/drives.json")
    func train(_ run: String, _ more: [String] = []) throws -> Ending {
      try Pagoda.run(workplace.training(run, ["--steps", "1"] + more), cache: cache)
    }

    // What is said in the configuration needs no measuring.
    let told = try train(
      "a", ["storage.queue_depth=4", "storage.request_bytes=64KiB", "storage.mixing=interleaved"])
    told.expect(0)
    #expect(!told.errors.contains("measuring"))
    #expect(profiles.profile(of: workplace.directory.path) == nil)

    let first = try train("b")
    first.expect(0, "measuring the drive of")
    let profile = try #require(profiles.profile(of: workplace.directory.path))
    #expect(profile.mixGBps.allSatisfy { $0 > 0 } && profile.alternatedGBps > 0)
    #expect(profile.settings.queueDepth >= 1 && profile.settings.requestBytes >= 4096)
    // Nothing stays behind beside the run.
    let left = try FileManager.default.contentsOfDirectory(atPath: workplace.directory.path)
    #expect(Set(left) == ["config.yaml", "a", "b"])

    let second = try train("c")
    second.expect(0)
    #expect(!second.errors.contains("measuring"))
    #expect(profiles.profile(of: workplace.directory.path) == profile)
  }

  /// Training does not depend on it: a cache that cannot be written costs the memory of it only.
  @Test func aCacheThatCannotBeWrittenIsNoObstacle() throws {
    let workplace = try Workplace()
    let cache = try TemporaryDirectory()
    try cache.write("a file where a directory should be", "pagoda")
    let ending = try Pagoda.run(workplace.training("a", ["--steps", "1"]), cache: cache)
    ending.expect(0, "measuring the drive of")
  }
}
