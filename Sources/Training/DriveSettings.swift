import DirectIO
import Storage

/// How the paths of a run are driven: what the configuration says, else what was measured, else
/// what is right for most drives.
struct DriveSettings {
  let disk: DiskSettings
  /// Relative speeds of the paths; nil when nothing is known of one of them.
  let bandwidths: [Double]?

  init(_ config: RunConfig, paths: [String], profiles: DriveProfiles) throws(ConfigError) {
    let known = paths.map { profiles.profile(of: $0) }
    var disk = DiskSettings(
      engine: Self.engine(config), ringMode: RingMode(rawValue: config.storage.ring))
    disk.hasThread = config.storage.io_thread
    for (path, profile) in zip(paths, known) {
      disk.byDirectory[path] = try Self.settings(config, profile?.settings ?? PathSettings())
    }
    self.disk = disk
    let rates = known.compactMap { $0?.pagingGBps }
    bandwidths = rates.count == paths.count ? rates : nil
  }

  private static func engine(_ config: RunConfig) -> EnginePreference {
    switch config.storage.engine {
    case "io_uring": .ring
    case "threads": .threads
    default: .automatic
    }
  }

  private static func settings(
    _ config: RunConfig, _ measured: PathSettings
  ) throws(ConfigError) -> PathSettings {
    let storage = config.storage
    var settings = measured
    if storage.queue_depth > 0 { settings.queueDepth = storage.queue_depth }
    if storage.request_bytes != "automatic" {
      settings.requestBytes = try config.bytes(
        storage.request_bytes, key: "storage.request_bytes")
    }
    if let mixing = Mixing(rawValue: storage.mixing) { settings.mixing = mixing }
    return settings
  }
}

extension RunConfig {
  /// Whether something of how paths are driven is left to measurement.
  package var leavesDrivesToMeasurement: Bool {
    storage.queue_depth == 0 || storage.request_bytes == "automatic"
      || storage.mixing == "automatic"
  }
}
