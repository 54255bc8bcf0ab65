import Base
import Planning

/// A report of `pagoda bench swap` as the JSON object that fio prints, so that its tools can read
/// it, with everything else under `pagoda`.
struct FioShape: Encodable {
  struct Latency: Encodable {
    let min: UInt64
    let max: UInt64
    let mean: Double
    let stddev: Double
    let percentile: [String: UInt64]
  }

  struct Side: Encodable {
    let ioBytes: Int
    let ioKbytes: Int
    /// Bytes a second, and KiB a second.
    let bwBytes: Int
    let bw: Int
    let iops: Double
    /// Milliseconds.
    let runtime: Int
    let totalIos: Int
    let clatNs: Latency
  }

  struct Job: Encodable {
    let jobname: String
    let error = 0
    let options: [String: String]
    let read: Side
    let write: Side
    /// Milliseconds.
    let jobRuntime: Int
    /// Percent of the time.
    let usrCpu: Double
    let sysCpu: Double
    let pagoda: Own

    struct Own: Encodable {
      let paths: [String]
      let node: Int?
      let writeShare: Double
      let recordBytes: Int?
      let gbps: Rate
      let cpuSecondsPerGB: Double
    }

    enum CodingKeys: String, CodingKey {
      case jobname, error, read, write, jobRuntime, usrCpu, sysCpu, pagoda
      case options = "job options"
    }
  }

  struct Own: Encodable {
    var paths: [SwapReport.Path]?
    var ceilings: [SwapReport.Ceiling]?
    var requestBytes: Int?
    var queueDepth: Int?
    var footprintBytes: Int?
    var rounds: Int?
    var sweep: [RequestSweep.Report]?
    var fio: [Duel]?
  }

  struct Duel: Encodable {
    struct Ratios: Encodable {
      let name: String
      let rateRatio: Double
      let cpuRatio: Double?
    }
    let report: FioDuel.Report
    let ratios: [Ratios]
  }

  let jobs: [Job]
  let pagoda: Own
}

extension FioShape {
  init(_ report: SwapReport) {
    jobs = report.jobs.map { Job($0, report) }
    pagoda = Own(
      paths: report.paths, ceilings: report.ceilings, requestBytes: report.requestBytes,
      queueDepth: report.queueDepth, footprintBytes: report.footprintBytes, rounds: report.rounds)
  }

  init(sweep: [RequestSweep.Report]) {
    jobs = []
    pagoda = Own(sweep: sweep)
  }

  init(duels: [FioDuel.Report]) {
    jobs = []
    pagoda = Own(
      fio: duels.map { report in
        let ratios = report.results.map {
          Duel.Ratios(name: $0.name, rateRatio: $0.rateRatio, cpuRatio: $0.cpuRatio)
        }
        return Duel(report: report, ratios: ratios)
      })
  }
}

extension FioShape.Job {
  init(_ job: SwapReport.Job, _ report: SwapReport) {
    jobname = job.name
    let pattern =
      switch job.writeShare {
      case 0: "read"
      case 1: "write"
      default: "rw"
      }
    var options = [
      "rw": (job.recordBytes == nil ? "" : "rand") + pattern, "bs": "\(report.requestBytes)",
      "iodepth": "\(report.queueDepth)", "directory": job.paths.joined(separator: ":"),
      "size": "\(report.paths[0].scratchBytes)",
      "direct": report.paths.allSatisfy(\.isDirect) ? "1" : "0", "ioengine": report.paths[0].engine,
    ]
    if pattern == "rw" { options["rwmixwrite"] = "\(Int((100 * job.writeShare).rounded()))" }
    self.options = options
    read = FioShape.Side(job.read)
    write = FioShape.Side(job.write)
    jobRuntime = Int(job.read.seconds * 1000)
    usrCpu = 100 * job.userSeconds / job.read.seconds
    sysCpu = 100 * job.systemSeconds / job.read.seconds
    pagoda = Own(
      paths: job.paths, node: job.node, writeShare: job.writeShare, recordBytes: job.recordBytes,
      gbps: job.rate, cpuSecondsPerGB: job.cpuSecondsPerGB)
  }
}

extension FioShape.Side {
  init(_ side: SwapReport.Side) {
    let rate = Double(side.bytes) / side.seconds
    ioBytes = side.bytes
    ioKbytes = side.bytes / 1024
    bwBytes = Int(rate)
    bw = Int(rate / 1024)
    iops = Double(side.requests) / side.seconds
    // As fio: none where nothing was done.
    runtime = side.requests > 0 ? Int(side.seconds * 1000) : 0
    totalIos = side.requests
    clatNs = FioShape.Latency(side.latency)
  }
}

extension FioShape.Latency {
  init(_ summary: LatencySummary?) {
    min = summary?.minimum ?? 0
    max = summary?.maximum ?? 0
    mean = summary?.mean ?? 0
    stddev = summary?.standardDeviation ?? 0
    percentile = Dictionary(
      uniqueKeysWithValues: (summary?.percentiles ?? []).map {
        (fixed($0.percent, 6), $0.nanoseconds)
      })
  }
}
