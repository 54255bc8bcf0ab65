import Synchronization

/// The tracks of one process. All but those of the workers are written by the training thread, which
/// also switches the recorder on and off.
package final class TraceRecorder: Sendable {
  package let training: TraceTrack
  package let workers: [TraceTrack]
  package let transfers: TraceTrack
  package let levels: TraceTrack
  private let isOn = Atomic<Bool>(false)

  /// Records of each track between two `drain`s.
  package struct Capacity: Sendable {
    let training: Int
    let loops: Int
    let transfers: Int
    let workers: Int

    /// Loops of a step that a worker takes part in: some hundred for each layer and some ten for
    /// each expert.
    private static let loopsPerLayer = 512
    private static let loopsPerVisit = 24

    /// - Parameters:
    ///   - blocks: of the store. In one step each is visited at most three times, read by two
    ///     transfers and written by two at each, for this generation and for the one before.
    ///   - layers: each may leave some leaves in the scratch, which are written once and read twice.
    ///   - workers: threads that compute; 0 where loops are not shared out.
    package init(blocks: Int, layers: Int, workers: Int) {
      transfers = 12 * blocks + 32 * layers + 64
      // A visit is an expert and its update, and waits for transfers.
      training = 6 * blocks + transfers + 16 * layers + 64
      loops = Self.loopsPerVisit * 3 * blocks + Self.loopsPerLayer * layers
      self.workers = workers
    }

    package var byteCount: Int {
      let tracks = [training, transfers, 2 * transfers] + Array(repeating: loops, count: workers)
      return tracks.reduce(0) { $0 + TraceTrack.byteCount(capacity: $1) }
    }
  }

  package init(_ capacity: Capacity) {
    training = TraceTrack(capacity: capacity.training)
    workers = (0..<capacity.workers).map { _ in TraceTrack(capacity: capacity.loops) }
    transfers = TraceTrack(capacity: capacity.transfers)
    // The levels change where a transfer begins and where it ends.
    levels = TraceTrack(capacity: 2 * capacity.transfers)
  }

  /// Whether anything is recorded now; transfers that began meanwhile still end.
  package var isRecording: Bool {
    get { isOn.load(ordering: .relaxed) }
    set { isOn.store(newValue, ordering: .relaxed) }
  }

  /// Records that found no room, of all tracks.
  package var dropped: Int {
    ([training, transfers, levels] + workers).reduce(0) { $0 + $1.dropped }
  }

  /// Notes that `worker` did `tasks` tasks of a loop; called by that worker.
  package func loop(worker: Int, tasks: Int, from start: UInt64, to end: UInt64) {
    guard tasks > 0 else { return }
    workers[worker].append(TraceRecord(.loop, amount: tasks, from: start, to: end))
  }
}
