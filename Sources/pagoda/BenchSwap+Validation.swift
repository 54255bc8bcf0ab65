import ArgumentParser
import Base
import DirectIO
import Planning

// What `pagoda bench swap` refuses before it makes anything: values out of range, and flags that
// would be ignored.

extension BenchSwap {
  /// More than anybody waits for, and few enough to end: a round takes a request of each load at
  /// least.
  private static let roundsMax = 1000

  func checkNumbers() throws {
    let seconds = seconds ?? 1
    try refuse(!(seconds > 0 && seconds <= 1e6), "--seconds must be positive and at most 1000000")
    try refuse(size.bytes == 0, "--size must be positive")
    for (flag, count) in [("--rounds", rounds), ("--pairs", pairs)] {
      let isInRange = (1...Self.roundsMax).contains(count ?? 1)
      try refuse(!isInRange, "\(flag) must be from 1 to \(Self.roundsMax)")
    }
    try refuse(!(0...1).contains(writeShare ?? 0), "--write-share is from 0 to 1")
    let record = record?.bytes ?? 4096
    try refuse(record < 4096 || record % 4096 != 0, "--record is not a multiple of 4KiB")
  }

  /// A directory named twice would compete with itself.
  func checkPaths() throws {
    var seen: Set<String> = []
    for path in path where !seen.insert(absolute(path)).inserted {
      throw ValidationError("--path \(path) is given twice: give each directory once")
    }
  }

  func checkCombinations() throws {
    try refuse(sweep && fio, "--sweep and --fio are two measurements: give one of them")
    let ofLoads = [
      ("--pattern", pattern != nil), ("--layout", layout != nil), ("--record", record != nil),
      ("--write-share", writeShare != nil),
    ]
    for (flag, isGiven) in ofLoads where isGiven && (sweep || fio) {
      let other = sweep ? "--sweep" : "--fio"
      throw ValidationError("\(flag) does not go with \(other), which has loads of its own")
    }
    try refuse(
      writeShare != nil && pattern != .mix, "--write-share goes with --pattern mix alone")
    try refuse(
      record != nil && layout == .sequential,
      "--record does not go with --layout sequential, which has no records")
    try refuse(!fio && pairs != nil, "--pairs goes with --fio")
    try refuse(!fio && !fioOption.isEmpty, "--fio-option goes with --fio")
    try refuse(fio && rounds != nil, "--rounds does not go with --fio: give --pairs")
    try refuse(
      fio && footprint != nil, "--footprint does not go with --fio: fio uses what is under way")
    let isThreads = engine == "threads"
    try refuse(
      isThreads && ioThread, "--io-thread is for io_uring: the engine of threads needs none")
    try refuse(isThreads && ring != "automatic", "--ring is for io_uring, not for --engine threads")
  }

  func checkShapes() throws {
    _ = try engineSettings
    let areSeveral = try requestSizes?.count ?? 1 > 1 || depths?.count ?? 1 > 1
    try refuse(!sweep && areSeveral, "several request sizes or depths are for --sweep")
    if sweep {
      let cells = try self.sweep(of: path.first ?? ".")
      try refuse(
        cells.shapes.isEmpty,
        "--sweep has nothing to measure: give a smaller --request-size or --depth; "
          + (cells.noteOfShapesLeftOut ?? ""))
    }
    if fio, let seconds {
      let runs = Self.runs(pairs: pairs ?? FioDuel.pairsStandard)
      try refuse(
        seconds / runs < 0.01,
        "--seconds \(seconds) is less than 10 ms for each of \(Int(runs)) runs of --fio: give more, "
          + "or fewer --pairs")
    }
  }

  private func refuse(_ isRefused: Bool, _ reason: String) throws {
    if isRefused { throw ValidationError(reason) }
  }
}

// MARK: - Flags

extension SwapBenchmark.Pattern: ExpressibleByArgument {}
extension SwapBenchmark.Layouts: ExpressibleByArgument {}

extension BenchSwap {
  var engineSettings: DiskSettings {
    get throws {
      guard let preference = EnginePreference(rawValue: engine == "io_uring" ? "ring" : engine)
      else { throw ValidationError("--engine is automatic, io_uring or threads") }
      let mode = RingMode(rawValue: ring)
      guard mode != nil || ring == "automatic" else {
        throw ValidationError("--ring is automatic, deferred, cooperative, polled or plain")
      }
      var settings = DiskSettings(engine: preference, ringMode: mode)
      settings.hasThread = ioThread
      return settings
    }
  }

  /// nil where the flag was not given.
  var requestSizes: [Int]? {
    get throws {
      try requestSize?.split(separator: ",").map {
        guard let size = ByteCount(parsing: String($0)), size.bytes >= 4096, size.bytes % 4096 == 0,
          size.bytes <= 1 << 30
        else {
          throw ValidationError("--request-size: `\($0)` is not a multiple of 4KiB up to 1GiB")
        }
        return size.bytes
      }.nonEmpty(or: "--request-size")
    }
  }

  var depths: [Int]? {
    get throws {
      try depth?.split(separator: ",").map {
        guard let depth = Int($0), (1...4096).contains(depth) else {
          throw ValidationError("--depth: `\($0)` is not a queue depth from 1 to 4096")
        }
        return depth
      }.nonEmpty(or: "--depth")
    }
  }
}

extension Array {
  fileprivate func nonEmpty(or flag: String) throws -> Self {
    guard !isEmpty else { throw ValidationError("\(flag) is empty") }
    return self
  }
}
