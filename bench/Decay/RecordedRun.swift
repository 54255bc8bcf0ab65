import Base
import DirectIO
import Foundation
import Storage
import Training

/// A run of a few steps as it is on disk, and what comes of two more steps when nothing is damaged.
struct RecordedRun {
  static let recordedSteps = 4
  static let lastStep = 6

  let site: Site
  let map: FileMap
  /// Bits of what the steps after the recorded ones compute.
  let losses: [[UInt64]]
  /// The checksum of every plane of every block after them.
  let checksums: [BlockID: PlaneValues<UInt64>]
  private let contents: [(path: String, bytes: [UInt8])]

  /// Trains, a generation for every step.
  init(in site: Site) throws {
    self.site = site
    do {
      var session = try site.session()
      while session.nextStep <= Self.recordedSteps {
        _ = try session.runStep()
        try session.commit()
      }
    }
    let store = try Self.reopen(site)
    map = try FileMap(store, site.paths)
    contents = try map.paths.map { ($0, try Self.contents($0)) }
    losses = try Self.goOn(site)
    let last = try Self.reopen(site)
    checksums = last.checksums
    guard try last.scrub().isWhole else { throw Miss("the undisturbed run is damaged") }
  }

  static func reopen(_ site: Site) throws -> Store {
    try Store.openReadOnly(paths: site.paths, disk: openDisk().disk)
  }

  /// Trains to the last step; the bits of every step.
  static func goOn(_ site: Site) throws -> [[UInt64]] {
    var session = try site.session()
    guard session.nextStep == recordedSteps + 1 else {
      throw Miss("training goes on with step \(session.nextStep)")
    }
    var losses: [[UInt64]] = []
    while session.nextStep <= lastStep {
      losses.append(try session.runStep().computed)
      try session.commit()
    }
    return losses
  }

  /// Makes all files what they were when the run was recorded.
  func restore() throws {
    for path in site.paths { try removeLogs(in: path) }
    for (path, bytes) in contents { try Self.overwrite(path, bytes) }
  }

  private func removeLogs(in directory: String) throws {
    let known = Set(contents.map(\.path))
    for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
      let path = directory + "/" + name
      if !known.contains(path), name != "store.lock" {
        try FileManager.default.removeItem(atPath: path)
      }
    }
  }

  private static func contents(_ path: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  /// In place: the pages of a file in memory are used again.
  private static func overwrite(_ path: String, _ bytes: [UInt8]) throws {
    let file = unsafe Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode_t(0o600))
    defer { close(file) }
    guard file >= 0, unsafe pwrite(file, bytes, bytes.count, 0) == bytes.count,
      ftruncate(file, bytes.count) == 0
    else { throw Miss("cannot restore \(path): errno \(errno)") }
  }
}

extension Store {
  /// The checksums of all planes of all blocks.
  var checksums: [BlockID: PlaneValues<UInt64>] {
    var all: [BlockID: PlaneValues<UInt64>] = [:]
    for block in writtenBlocks { all[block] = record(of: block)?.checksums }
    return all
  }
}

extension StepMetrics {
  /// What must be equal to the bit; times and bytes are not.
  fileprivate var computed: [UInt64] {
    [loss, aux_loss, grad_norm, learning_rate, dropped].map(\.bitPattern) + [UInt64(tokens)]
  }
}
