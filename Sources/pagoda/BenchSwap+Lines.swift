import Base
import Planning

/// An engine, and who drives it.
private func engineName(_ engine: String, _ hasIOThread: Bool) -> String {
  hasIOThread ? "\(engine) on a thread of its own" : engine
}

/// A swap report as a table.
func swapLines(_ report: SwapReport) -> [String] {
  let head = [
    "load", "GB/s", "low-high", "of ceiling", "read p50 ms", "p99", "p99.9", "write p50 ms", "p99",
    "p99.9", "CPU s/GB",
  ]
  var lines = [
    "requests of \(ByteCount(report.requestBytes)), \(report.queueDepth) at once, rotating through "
      + "\(ByteCount(report.footprintBytes)) of memory; \(report.rounds) interleaved rounds, median"
  ]
  for path in report.paths { lines += pathLines(path) }
  let groups = report.jobs.reduce(into: [[SwapReport.Job]]()) { groups, job in
    if let last = groups.last?.last, last.paths == job.paths, last.node == job.node {
      groups[groups.count - 1].append(job)
    } else {
      groups.append([job])
    }
  }
  for jobs in groups {
    let node = jobs[0].node.map { ", memory of node \($0)" } ?? ""
    let together = jobs[0].paths.count > 1 ? " together" : ""
    lines += ["", jobs[0].paths.joined(separator: " + ") + together + node]
    let ceiling = report.ceilings.first { [$0.path] == jobs[0].paths }
    lines += table([head] + jobs.map { row($0, ceiling) })
    if let ceiling {
      lines.append(
        "ceiling: \(ceiling.threads) threads calling pread or pwrite, "
          + "read \(fixed(ceiling.read.median, 2)), write \(fixed(ceiling.write.median, 2)) GB/s")
    }
  }
  return lines
}

private func pathLines(_ path: SwapReport.Path) -> [String] {
  let rewrite = path.rewriteGbps.map { ", again \(fixed($0, 2))" } ?? ""
  return [
    "\(path.directory): \(engineName(path.engine, path.hasIOThread))"
      + "\(path.isDirect ? " with O_DIRECT" : ""), "
      + "\(ByteCount(path.scratchBytes)) of random data, first write "
      + "\(fixed(path.firstWriteGbps, 2)) GB/s\(rewrite); \(path.pagesChecked) pages compared, "
      + "checksum \(String(path.checksum, radix: 16))"
  ] + path.notes.map { "note: \($0)" }
}

private func row(_ job: SwapReport.Job, _ ceiling: SwapReport.Ceiling?) -> [String] {
  func milliseconds(_ side: SwapReport.Side) -> [String] {
    guard let latency = side.latency else { return ["", "", ""] }
    return [50, 99, 99.9].map { fixed(Double(latency.nanoseconds(at: $0)) * 1e-6, 2) }
  }
  var share = ""
  if let ceiling, job.recordBytes == nil, job.writeShare == 0 || job.writeShare == 1 {
    let most = job.writeShare == 0 ? ceiling.read : ceiling.write
    share = "\(Int((100 * job.rate.median / most.median).rounded())) %"
  }
  return [
    job.name, fixed(job.rate.median, 2), "\(fixed(job.rate.low, 2))-\(fixed(job.rate.high, 2))",
    share,
  ] + milliseconds(job.read) + milliseconds(job.write) + [fixed(job.cpuSecondsPerGB, 3)]
}

/// A sweep as three heat maps and a recommendation.
func sweepLines(_ report: RequestSweep.Report) -> [String] {
  var lines = [
    "\(report.directory): \(engineName(report.engine, report.hasIOThread))"
      + "\(report.isDirect ? " with O_DIRECT" : ""), "
      + "\(ByteCount(report.fileBytes)), rotating through "
      + "\(ByteCount(report.footprintBytes)) of memory; \(report.rounds) interleaved rounds, "
      + "median GB/s"
  ]
  lines += report.notes.map { "note: \($0)" }
  let kinds: [(String, KeyPath<RequestSweep.Cell, Double>)] = [
    ("read", \.read), ("write", \.write), ("half reads, half writes", \.mix),
  ]
  for (name, rate) in kinds {
    let map = HeatMap(
      rows: unique(report.cells.map(\.requestBytes)),
      columns: unique(report.cells.map(\.queueDepth)),
      cells: report.cells.map { ($0.requestBytes, $0.queueDepth, $0[keyPath: rate]) },
      best: (report.best.requestBytes, report.best.queueDepth),
      recommended: (report.recommended.requestBytes, report.recommended.queueDepth))
    lines += ["", name] + map.lines(inColour: Output.resultsHaveColour)
  }
  func shape(_ cell: RequestSweep.Cell) -> String {
    "requests of \(ByteCount(cell.requestBytes)), \(cell.queueDepth) at once"
  }
  return lines + [
    "", "* best: \(shape(report.best))",
    "+ recommended, the least under way within 3 %: \(shape(report.recommended))",
  ]
}

private func unique(_ values: [Int]) -> [Int] { Set(values).sorted() }

/// A duel as a table of medians.
func duelLines(_ report: FioDuel.Report) -> [String] {
  let head = [
    "load", "pagoda GB/s", "fio GB/s", "ratio", "pagoda CPU s/GB", "fio CPU s/GB", "ratio",
  ]
  let rows = report.results.map { result in
    [
      result.name, fixed(median(result.ours.map(\.gbps)), 2),
      fixed(median(result.theirs.map(\.gbps)), 2), fixed(result.rateRatio, 3),
      fixed(median(result.ours.map(\.cpuSecondsPerGB)), 4),
      fixed(median(result.theirs.map(\.cpuSecondsPerGB)), 4),
      result.cpuRatio.map { fixed($0, 3) } ?? "-",
    ]
  }
  return [
    "\(report.directory): \(engineName(report.engine, report.hasIOThread)) against "
      + "\(report.fioVersion) (io_uring"
      + "\(report.isDirect ? ", direct=1" : "")), \(report.results[0].ours.count) interleaved pairs "
      + "of \(fixed(report.secondsPerRun, 1)) s",
    "equal: file (\(ByteCount(report.fileBytes)), sequential), requests of "
      + "\(ByteCount(report.requestBytes)), \(report.queueDepth) at once, "
      + "\(ByteCount(report.footprintBytes)) of buffers, random data, one thread that asks, no fsync inside",
  ] + report.notes.map { "note: \($0)" } + table([head] + rows) + [
    "ratios: medians over the pairs of pagoda divided by fio",
    "not equal unless --fio-option makes it so: pagoda's buffers are locked, registered and on huge "
      + "pages where there are some; fio's are on small pages and looked up for every request",
  ] + unequalPlaces(report)
}

/// What the machine and the flags make unequal besides.
private func unequalPlaces(_ report: FioDuel.Report) -> [String] {
  var lines: [String] = []
  if report.hasIOThread {
    lines.append(
      "not equal: pagoda's ring has a thread beside the one that asks; fio has one thread")
  }
  if let node = report.node {
    lines.append(
      "not equal: pagoda is pinned to the processors of node \(node) with its buffers in that node's "
        + "memory; fio is not, unless --fio-option numa_cpu_nodes=\(node) --fio-option "
        + "numa_mem_policy=bind:\(node) binds it")
  }
  return lines
}
