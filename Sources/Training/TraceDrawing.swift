import Base
import DirectIO
import Interchange
import Storage
import Tracing

/// How records become rows of Chrome's format: the training thread, the workers and the levels are
/// one process; each storage path is a process whose rows are its transfers.
struct TraceDrawing {
  private var trace = ChromeTrace()
  private let disk: any Disk
  /// What times count from; no record begins earlier.
  private let origin: UInt64
  private var isEmpty = true
  private var lanes: [TransferLanes] = []
  /// By the number of a file: its path, an index of `lanes`.
  private var pathOfFile: [Int: Int] = [:]

  private static let training = ChromeTrace.Row(process: 1, thread: 1)
  /// So many bytes gather before they are written.
  static let bufferBytes = 1 << 16

  init(_ disk: any Disk, origin: UInt64) { (self.disk, self.origin) = (disk, origin) }

  /// Draws all records into `file`, which is whole afterwards; the recorder is empty then.
  mutating func draw(_ recorder: TraceRecorder, into file: TraceFile) throws(DiskError) {
    if isEmpty { nameThreads(recorder) }
    isEmpty = false
    try draw(recorder.training, into: file) { $0.drawTraining($1) }
    for (index, worker) in recorder.workers.enumerated() {
      let row = Self.worker(index)
      try draw(worker, into: file) { $0.drawLoop($1, row) }
    }
    try draw(recorder.transfers, into: file) { $0.drawTransfer($1) }
    try draw(recorder.levels, into: file) { $0.drawLevels($1) }
    try file.append(trace.take())
    try file.write(
      ending: ChromeTrace.ending([
        ("clock", .text("CLOCK_MONOTONIC")), ("origin_ns", .integer(Int(origin))),
        ("dropped_events", .integer(recorder.dropped)),
      ]))
  }

  private mutating func draw(
    _ track: TraceTrack, into file: TraceFile, _ body: (inout Self, TraceRecord) -> Void
  ) throws(DiskError) {
    var failure: DiskError?
    track.drain { record in
      guard failure == nil else { return }
      body(&self, record)
      guard trace.bytes.count >= Self.bufferBytes else { return }
      do throws(DiskError) { try file.append(trace.take()) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  private static func worker(_ index: Int) -> ChromeTrace.Row {
    ChromeTrace.Row(process: 1, thread: 2 + index)
  }

  private mutating func nameThreads(_ recorder: TraceRecorder) {
    trace.name(process: 1, "pagoda", order: 0)
    trace.name(Self.training, "training thread")
    for index in recorder.workers.indices {
      trace.name(
        Self.worker(index),
        index == 0 ? "loops of worker 0, the training thread" : "loops of worker \(index)")
    }
  }
}

// MARK: Threads

extension TraceDrawing {
  private mutating func drawTraining(_ record: TraceRecord) {
    trace.span(
      Self.name(record), category: Self.category(record.name), Self.training,
      start: time(record.start), duration: Int(record.end - record.start),
      color: Self.color(record.name), Self.fields(record))
  }

  private mutating func drawLoop(_ record: TraceRecord, _ row: ChromeTrace.Row) {
    trace.span(
      "loop", category: "worker", row, start: time(record.start),
      duration: Int(record.end - record.start), [("tasks", .integer(Int(record.amount)))])
  }

  private func time(_ moment: UInt64) -> Int { Int(moment - origin) }

  private static func name(_ record: TraceRecord) -> String {
    switch record.name {
    case .step: "step \(record.subject)"
    case .gradientNorm: "gradient norm"
    case .layer: "\(record.detail == 0 ? "encoder" : "decoder") layer \(record.subject)"
    case .attentionAndFeedForward: "attention, FFN"
    case .expert: BlockID(rawValue: record.subject).map { "expert \($0.index)" } ?? "expert"
    case .denseUpdate: "dense update"
    case .denseSave: "save dense part"
    case .routerStall: "router stall"
    case .commitFreeze: "commit freeze"
    case .forward, .backward, .embedding, .loss, .attention, .router, .update, .stall, .evaluation,
      .loop, .read, .write, .scratchRead, .scratchWrite, .levels:
      "\(record.name)"
    }
  }

  private static func category(_ name: TraceName) -> String {
    switch name {
    case .stall, .routerStall: "stall"
    case .step, .forward, .backward, .gradientNorm, .layer: "sweep"
    case .denseSave, .commitFreeze: "commit"
    case .read, .write: "\(name)"
    case .scratchRead: "scratch read"
    case .scratchWrite: "scratch write"
    default: "compute"
    }
  }

  /// Waits in the colours that chrome://tracing has for what is bad.
  private static func color(_ name: TraceName) -> String? {
    switch name {
    case .stall: "terrible"
    case .routerStall: "bad"
    default: nil
    }
  }

  private static func fields(_ record: TraceRecord) -> ChromeTrace.Fields {
    switch record.name {
    case .expert: block(record.subject) + [("rows", .integer(Int(record.amount)))]
    case .stall, .routerStall:
      [("cause", .text(StallCause(rawValue: record.detail).map { "\($0)" } ?? "?"))]
        + block(record.subject)
    default: []
    }
  }

  /// What names a block; nothing of none.
  private static func block(_ rawValue: Int64) -> ChromeTrace.Fields {
    guard let block = BlockID(rawValue: rawValue) else { return [] }
    switch block.kind {
    case .dense: return [("dense_block", .integer(block.index))]
    case .expert:
      return [
        ("moe_layer", .integer(block.layer)), ("expert", .integer(block.index)),
        ("slice", .integer(block.slice)),
      ]
    }
  }
}

// MARK: Transfers

/// The rows of one storage path. A row holds transfers one after another: there are as many as were
/// under way at once.
private struct TransferLanes {
  let directory: String
  let process: Int
  /// By row: when its last transfer ended.
  var reads: [UInt64] = []
  var writes: [UInt64] = []

  private static let firstWrite = 1000

  init(_ directory: String, process: Int) {
    (self.directory, self.process) = (directory, process)
  }

  /// The row for a transfer, and its name where it is new.
  mutating func row(_ record: TraceRecord) -> (row: ChromeTrace.Row, name: String?) {
    let isRead = record.name == .read || record.name == .scratchRead
    let (lane, isNew) = isRead ? Self.lane(&reads, record) : Self.lane(&writes, record)
    let thread = (isRead ? 0 : Self.firstWrite) + lane + 1
    let row = ChromeTrace.Row(process: process, thread: thread)
    return (row, isNew ? "\(isRead ? "reads" : "writes") \(lane + 1)" : nil)
  }

  private static func lane(
    _ ends: inout [UInt64], _ record: TraceRecord
  ) -> (lane: Int, isNew: Bool) {
    if let lane = ends.firstIndex(where: { $0 <= record.start }) {
      ends[lane] = record.end
      return (lane, false)
    }
    ends.append(record.end)
    return (ends.count - 1, true)
  }
}

extension TraceDrawing {
  private mutating func drawTransfer(_ record: TraceRecord) {
    let (row, rowName) = lanes[path(ofFile: Int(record.place))].row(record)
    if let rowName { trace.name(row, rowName) }
    var (name, fields) = Self.moved(record)
    if record.detail & TraceRecord.failedBit != 0 { fields.append(("failed", .integer(1))) }
    trace.span(
      name, category: Self.category(record.name), row, start: time(record.start),
      duration: Int(record.end - record.start), fields)
  }

  /// What a transfer has moved: a name, and numbers.
  private static func moved(_ record: TraceRecord) -> (name: String, fields: ChromeTrace.Fields) {
    let bytes: ChromeTrace.Fields = [("bytes", .integer(Int(record.amount)))]
    guard record.name == .read || record.name == .write else {
      return ("leaf \(record.subject)", bytes + [("leaf", .integer(Int(record.subject)))])
    }
    let planes = Plane.allCases.filter { record.detail >> $0.rawValue & 1 == 1 }
      .map { "\($0)" }.joined(separator: " ")
    let name = BlockID(rawValue: record.subject).map { "\($0), " } ?? ""
    return (name + planes, bytes + block(record.subject) + [("planes", .text(planes))])
  }

  /// The storage path that a file is on.
  private mutating func path(ofFile file: Int) -> Int {
    if let path = pathOfFile[file] { return path }
    let directory = parent(of: disk.path(of: DiskFile(index: file)))
    let path = lanes.firstIndex { $0.directory == directory } ?? lanes.count
    if path == lanes.count {
      lanes.append(TransferLanes(directory, process: 2 + path))
      trace.name(process: 2 + path, "disk: \(directory)", order: 2 + path)
    }
    pathOfFile[file] = path
    return path
  }

  private mutating func drawLevels(_ record: TraceRecord) {
    let time = time(record.start)
    trace.level(
      "bytes in flight", process: 1, time: time,
      [("read", .integer(Int(record.subject))), ("write", .integer(Int(record.amount)))])
    trace.level(
      "frames in use", process: 1, time: time,
      [
        ("weights", .integer(Int(record.end >> 32))),
        ("state", .integer(Int(record.end & 0xffff_ffff))),
      ])
  }
}
