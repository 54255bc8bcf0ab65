import Base
import DirectIO
import PinnedMemory

/// What a lane did, or why it could not.
typealias LaneOutcome = Result<(tally: LoadTally, latencies: Latencies), DiskError>

/// One way to a scratch file: an engine, its buffers on one memory node, and, where there are
/// several lanes, a thread beside them.
///
/// A disk belongs to the thread that opens it: all work on it is done there.
final class SwapLane {
  /// The memory node; nil where there is only one.
  let node: Int?
  /// What requests rotate through.
  let window: PinnedSlice
  private(set) var note: String?

  private let thread: LaneThread?
  private let memory: ProbeMemory
  private var opened: (disk: any Disk, file: DiskFile)?

  /// - Parameters:
  ///   - node: where buffers and thread are; nil leaves both to the kernel.
  ///   - hasThread: false: the lane works on the caller's thread.
  init(node: Topology.Node?, hasThread: Bool, windowBytes: Int, seed: UInt64) throws(ProbeError) {
    let memory = try ProbeMemory(byteCount: windowBytes, node: node?.id)
    ScratchPages(seed: seed).fill(memory.slice)
    self.memory = memory
    window = memory.slice
    self.node = node?.id
    thread = hasThread || node != nil ? LaneThread(cpus: node?.cpus ?? []) : nil
  }

  deinit {
    if let opened { perform { opened.disk.close() } }
    thread?.stop()
  }

  func open(
    _ path: String, _ settings: DiskSettings, queueDepth: Int, requestBytes: Int
  ) throws(DiskError) {
    let window = self.window
    let result = perform { () -> Result<(any Disk, DiskFile, String?), DiskError> in
      var settings = settings
      settings.standard = PathSettings(requestBytes: requestBytes, queueDepth: queueDepth)
      let (disk, note) = openDisk(settings)
      do throws(DiskError) {
        let file = try disk.openFile(path, byteCount: 0, .readWrite)
        disk.register(window)
        return .success((disk, file, note))
      } catch {
        disk.close()
        return .failure(error)
      }
    }
    let (disk, file, note) = try result.get()
    opened = (disk, file)
    self.note = note
  }

  var disk: any Disk { access.disk }
  var isDirect: Bool { access.disk.isDirect(access.file) }
  /// Whether a thread of its own drives the disk.
  var hasIOThread: Bool { access.disk is BackgroundDisk }

  private var access: (disk: any Disk, file: DiskFile) {
    guard let opened else { preconditionFailure("the lane is open") }
    return opened
  }

  /// Queues one transfer; for those who are on the lane's thread.
  func submit(_ kind: Transfer.Kind, offset: Int, _ memory: PinnedSlice, tag: Int) {
    access.disk.submit(
      Transfer(kind, access.file, offset: offset, memory: memory, tag: UInt64(tag)))
  }

  /// Makes everything written durable.
  func sync() throws(DiskError) {
    let (disk, file) = access
    let result = perform { () -> Result<Void, DiskError> in
      do throws(DiskError) { return .success(try disk.sync(file)) } catch { return .failure(error) }
    }
    try result.get()
  }

  /// Runs a load in `footprint` bytes of the window; to be called by `perform` or `together`.
  func run(
    _ load: Load, _ limit: LoadGenerator.Limit, region: Range<Int>, footprint: Int, seed: UInt64
  ) -> LaneOutcome {
    let (disk, file) = access
    let plan = AccessPlan(load, region: region, seed: seed)
    var generator = LoadGenerator(
      disk, file, window: window.part(from: 0, byteCount: footprint), load, plan)
    var latencies = Latencies()
    do throws(DiskError) {
      return .success((try generator.run(limit, &latencies), latencies))
    } catch { return .failure(error) }
  }
}

// MARK: - Threads

extension SwapLane {
  /// Does `work` on the lane's thread and waits for it.
  func perform<Value>(_ work: @escaping () -> Value) -> Value {
    guard let thread else { return work() }
    var value: Value?
    thread.begin { value = work() }
    thread.wait()
    return value!
  }

  /// Does `work` for all lanes at once and waits for all. Several lanes have threads of their own.
  static func together<Value>(
    _ lanes: [SwapLane], _ work: @escaping (SwapLane) -> Value
  ) -> [Value] {
    if lanes.count == 1 { return [lanes[0].perform { work(lanes[0]) }] }
    let places = lanes.map { _ in Place<Value>() }
    for (lane, place) in zip(lanes, places) {
      guard let thread = lane.thread else { preconditionFailure("several lanes have threads") }
      thread.begin { place.value = work(lane) }
    }
    for lane in lanes { lane.thread?.wait() }
    return places.map { $0.value! }
  }

  private final class Place<Value> { var value: Value? }
}
