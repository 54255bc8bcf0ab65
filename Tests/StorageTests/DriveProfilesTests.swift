import DirectIO
import Glibc
import Storage
import Testing

@Suite struct DriveProfilesTests {
  let profile = DriveProfile(
    requestBytes: 2 << 20, queueDepth: 12, mixGBps: [3, 2, 1.5, 1.2, 1], alternatedGBps: 1.6,
    measuredAt: 1_700_000_000)

  @Test func aProfileIsRememberedByFileSystem() throws {
    let directory = try TestDirectory()
    let profiles = DriveProfiles(path: directory.path + "/cache/pagoda/drives.json")
    #expect(profiles.profile(of: directory.path) == nil)
    try profiles.remember(profile, of: directory.path)
    #expect(profiles.profile(of: directory.path) == profile)
    // The drive counts, not the name: also of what does not exist yet.
    #expect(profiles.profile(of: directory.path + "/a/b/c") == profile)
    // The file systems of processes are on no drive.
    #expect(profiles.profile(of: "/proc") == nil)
    let later = DriveProfile(
      requestBytes: 4096, queueDepth: 1, mixGBps: [1, 1, 1, 1, 1], alternatedGBps: 1,
      measuredAt: 1_700_000_001)
    try profiles.remember(later, of: directory.path)
    #expect(profiles.profile(of: directory.path) == later)
  }

  @Test func aDamagedFileIsAnEmptyOne() throws {
    let directory = try TestDirectory()
    let profiles = DriveProfiles(path: directory.path + "/drives.json")
    let file = unsafe fopen(profiles.path, "w")
    unsafe fputs("{\"format\": 1, \"drives\": 7", file)
    unsafe fclose(file)
    #expect(profiles.profile(of: directory.path) == nil)
    try profiles.remember(profile, of: directory.path)
    #expect(profiles.profile(of: directory.path) == profile)
  }

  /// Values that no measurement gives, as a hand or another program may leave them.
  @Test(arguments: [
    ("\"queueDepth\":12", "\"queueDepth\":0"), ("\"queueDepth\":12", "\"queueDepth\":5000"),
    ("\"requestBytes\":2097152", "\"requestBytes\":1000"), ("[3,2,1.5,1.2,1]", "[3,2]"),
    ("[3,2,1.5,1.2,1]", "[3,2,0,1.2,1]"), ("\"interleaved\"", "\"sideways\""),
  ])
  func aProfileThatCannotBeIsNone(_ good: String, _ bad: String) throws {
    let directory = try TestDirectory()
    let profiles = DriveProfiles(path: directory.path + "/drives.json")
    try profiles.remember(profile, of: directory.path)
    var text = String(decoding: readBytes(profiles.path), as: UTF8.self)
    text.removeAll { $0.isWhitespace }
    let range = try #require(text.firstRange(of: good))
    text.replaceSubrange(range, with: bad)
    let file = unsafe fopen(profiles.path, "w")
    unsafe fputs(text, file)
    unsafe fclose(file)
    #expect(profiles.profile(of: directory.path) == nil)
    try profiles.remember(profile, of: directory.path)
    #expect(profiles.profile(of: directory.path) == profile)
  }

  @Test func whatCannotBeRememberedIsAnError() {
    let profiles = DriveProfiles(path: "/proc/drives.json")
    #expect(throws: (any Error).self) { try profiles.remember(profile, of: "/") }
  }

  /// Turns idle between reading and writing: they are taken when they clearly win.
  @Test(arguments: [
    (1.0, Mixing.interleaved, 1.0), (1.05, .interleaved, 1), (1.2, .alternated, 1.2),
  ])
  func turnsAreTakenWhenTheyPay(_ alternated: Double, _ mixing: Mixing, _ paging: Double) {
    let profile = DriveProfile(
      requestBytes: 4096, queueDepth: 1, mixGBps: [9, 9, 1, 9, 9], alternatedGBps: alternated,
      measuredAt: 0)
    #expect(profile.settings.mixing == mixing)
    #expect(profile.pagingGBps == paging)
  }
}
