import Foundation
import Interchange
import Storage

/// The files a run writes as it goes: `metrics.jsonl`, `evaluations.jsonl` and TensorBoard events.
struct RunLog {
  private let metrics: JSONLines<StepMetrics>
  private let reports: JSONLines<EvaluationReport>
  private let events: FileHandle
  private let eventsPath: String
  private(set) var evaluations: [EvaluationReport]

  /// Opens the files of `run`; lines after `step`, of work that was never committed, are cut off.
  init(_ run: RunDirectory, upTo step: Int) throws {
    evaluations = JSONLines<EvaluationReport>.read(run.evaluations).filter { $0.step <= step }
    metrics = try JSONLines(path: run.metrics, upTo: step)
    reports = try JSONLines(path: run.evaluations, upTo: step)
    let now = Date().timeIntervalSince1970
    let path = "\(run.path)/events.out.tfevents.\(Int(now)).pagoda.\(getpid())"
    eventsPath = path
    events = try writing(path) {
      let header =
        TensorBoardEvents.header(wallTime: now)
        + TensorBoardEvents.sessionStart(wallTime: now, step: step + 1)
      try Data(header).write(to: URL(fileURLWithPath: path))
      return try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    }
    try events.seekToEnd()
  }

  /// Make all lines written so far durable; a generation that has the steps needs their lines.
  var syncers: [@Sendable () throws(StorageError) -> Void] { [metrics.syncer, reports.syncer] }

  mutating func append(_ line: StepMetrics) throws {
    try metrics.append(line)
    try append(
      step: line.step,
      [
        ("train/loss", line.loss), ("train/aux_loss", line.aux_loss),
        ("train/learning_rate", line.learning_rate), ("train/grad_norm", line.grad_norm),
        ("speed/tokens_per_s", line.tokens_per_s), ("speed/stall_s", line.stall_s),
        ("speed/router_stall_s", line.router_stall_s),
        ("io/read_gbps", line.read_gbps), ("io/write_gbps", line.write_gbps),
        ("io/hit_rate", line.hit_rate), ("memory/peak_rss_bytes", Double(line.peak_rss_bytes)),
      ])
  }

  mutating func append(_ report: EvaluationReport) throws {
    evaluations.append(report)
    try reports.append(report)
    try append(step: report.step, [("heldout/loss", report.loss)])
  }

  private func append(step: Int, _ values: [(String, Double)]) throws {
    let scalars = values.map { (tag: $0.0, value: Float($0.1)) }
    let bytes = TensorBoardEvents.scalars(
      wallTime: Date().timeIntervalSince1970, step: step, scalars)
    try writing(eventsPath) { try events.write(contentsOf: Data(bytes)) }
  }
}
