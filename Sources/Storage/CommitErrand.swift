import DirectIO
import Synchronization

/// A commit under way beside the thread of its store: data synced, then one transaction.
final class CommitErrand {
  enum Outcome: Sendable {
    /// What the commit replaced, in the order of the blocks; so many of the oldest generations are
    /// none any more.
    case durable(replaced: [Superseded], dropped: Int)
    case notSynced(DiskError)
    case failed(StorageError)
  }

  /// What the errand leaves for the thread of the store, which looks when the errand is done.
  private final class Result: @unchecked Sendable {
    var outcome: Outcome?
    /// Why the generation must not become one; looked at last before it does.
    let objection = Mutex<StorageError?>(nil)
  }

  let generation: Generation
  private let result = Result()
  private let errand: any Errand

  init(
    _ commit: Commit, syncers: [@Sendable () -> DiskError?],
    companions: [@Sendable () throws(StorageError) -> Void], earlierFailure: DiskError?, keep: Int,
    _ manifest: Manifest, _ lock: StoreLock, on disk: any Disk
  ) {
    generation = commit.generation
    let result = result
    errand = disk.runBeside {
      let failure = earlierFailure ?? Self.firstFailure(of: syncers)
      result.outcome =
        failure.map { .notSynced($0) }
        ?? Self.write(commit, companions, result, keep: keep, manifest, lock)
    }
  }

  /// Fails with `error` if the generation is not durable yet.
  func giveUp(_ error: StorageError) { result.objection.withLock { $0 = error } }

  private static func firstFailure(of syncers: [@Sendable () -> DiskError?]) -> DiskError? {
    for sync in syncers {
      if let failure = sync() { return failure }
    }
    return nil
  }

  var isDone: Bool { errand.isDone }
  func wait() { errand.wait() }

  func outcome() -> Outcome {
    errand.wait()
    guard let outcome = result.outcome else { preconditionFailure("an errand ends in an outcome") }
    return outcome
  }

  /// Generations beyond `keep` go, except while somebody reads: then this commit frees nothing, and
  /// a later one does.
  private static func write(
    _ commit: Commit, _ companions: [@Sendable () throws(StorageError) -> Void],
    _ result: Result, keep: Int, _ manifest: Manifest, _ lock: StoreLock
  ) -> Outcome {
    do throws(StorageError) {
      for companion in companions { try companion() }
      let isUnread = lock.tryLock(.pin, .exclusive)
      defer { if isUnread { lock.unlock(.pin) } }
      try lock.lock(.manifest, .exclusive)
      defer { lock.unlock(.manifest) }
      if let objection = result.objection.withLock({ $0 }) { throw objection }
      let dropped = isUnread ? max(0, commit.kept.count + 1 - keep) : 0
      let replaced = try manifest.write(commit, dropped: dropped)
      return .durable(replaced: replaced, dropped: dropped)
    } catch {
      return .failed(error)
    }
  }
}
