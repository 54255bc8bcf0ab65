package import Base
package import DirectIO
package import PinnedMemory

/// Bytes of a record that are not the ones written.
package struct Damage: Hashable, Sendable, CustomStringConvertible {
  package let block: BlockID
  package let plane: Plane
  package let path: String
  /// Bytes from the start of the file.
  package let offset: Int
  package let length: Int
  package let found: UInt64
  package let expected: UInt64
  package let state: State

  /// What is left without the record.
  package enum State: Hashable, Sendable {
    /// Not yet part of a durable generation: the last one, named by its step, does not need it.
    case uncommitted(lastGeneration: Int?)
    /// Of the last generation; an older one that is kept, named by its step, has another.
    case committed(wholeGeneration: Int?)

    fileprivate var generationBefore: Int? {
      if case .uncommitted(let step) = self { step } else { nil }
    }

    fileprivate func remedy(after first: String) -> String {
      switch self {
      case .uncommitted(let step?):
        "\(first) run the same command again: generation \(step) does not need it"
      case .uncommitted(nil):
        "\(first) start again with --fresh: no generation was committed yet"
      case .committed(let step?):
        "\(first) go back to generation \(step), which does not have it (`pagoda store "
          + "rollback`), or restore this store from a copy"
      case .committed(nil):
        "\(first) restore this store from a copy, or start again with --fresh: no generation "
          + "without it is kept (checkpoint.keep)"
      }
    }
  }

  package var description: String {
    "\(block), plane \(plane): \(path) at offset \(offset), \(length) bytes: checksum "
      + "\(hex(found)) instead of \(hex(expected))"
  }
}

/// Why a store cannot be opened, read or written. Each description says where and what to do.
package enum StorageError: Error, Sendable {
  /// A record whose bytes are not the ones that were written, twice.
  case damaged(Damage)
  /// A data file or manifest that contradicts itself or the other.
  case inconsistent(path: String, reason: String)
  /// Something at this path that Pagoda did not make, or a symbolic link.
  case foreign(path: String, reason: String)
  case otherFormat(path: String, found: Int, supported: Int)
  /// A whole store, of another run.
  case belongsToAnother(path: String, found: String, wanted: String)
  case missing(path: String, what: String)
  /// Fewer directories than the store has.
  case directoriesLeftOut(path: String, recorded: [String], named: [String])
  /// Two paths of one store that name one directory.
  case sameDirectory(String, String)
  /// A generation, named by its step, that is not kept; nil: any at all.
  case noGeneration(path: String, step: Int?, kept: [Int])
  /// A directory that is none of the store's, or its only one.
  case notAPath(path: String, directory: String, directories: [String])
  case diskTooSmall(path: String, needed: Int, free: Int)
  case locked(path: String, pid: Int?)
  /// An open, sync or other transfer of a data file.
  case disk(DiskError)
  /// A transfer of adjacent planes of a record, from the first to the last.
  case transfer(BlockID, Plane, Plane, DiskError)
  /// A read of such planes, and what is left without them.
  case unreadable(BlockID, Plane, Plane, DiskError, Damage.State)
  /// An open or transfer of a file that nobody needs after the process, and what to set so that there
  /// is none.
  case scratch(DiskError, avoidedBy: String)
  /// A failed system call on a directory, lock or manifest file.
  case system(action: String, path: String, code: Int32)
  /// SQLite's result code and message.
  case manifest(path: String, action: String, code: Int32, message: String)
  case memory(MemoryError)
  /// A changed page was dropped by its holder without being written back.
  case abandoned(BlockID)
  /// Asked to stop while a reader of older generations kept every slot that could be written.
  case stoppedWaiting(path: String)
}

extension StorageError {
  /// The durable generation that needs nothing of what was lost; nil when there is none.
  package var generationBefore: Int? {
    switch self {
    case .damaged(let damage): damage.state.generationBefore
    case .unreadable(_, _, _, _, let state): state.generationBefore
    default: nil
    }
  }
}

extension StorageError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .damaged(let damage):
      return "\(damage), twice: \(damage.state.remedy(after: "check the drive (smartctl), then"))"
    case .inconsistent(let path, let reason):
      return "\(path): \(reason). Restore the store from a copy or start again with --fresh"
    case .foreign(let path, let reason):
      return "\(path): \(reason). Nothing was changed; name another directory with --store"
    case .otherFormat(let path, let found, let supported):
      let remedy =
        found > supported
        ? "use a newer pagoda" : "use the pagoda that made it, or start again with --fresh"
      return "\(path): store format \(found), this pagoda reads \(supported): \(remedy)"
    case .belongsToAnother(let path, let found, let wanted):
      return "\(path) belongs to another run (\(found), wanted \(wanted)). Nothing was changed; "
        + "name another directory with --store, or start again with --fresh"
    case .missing(let path, let what):
      return "\(path): \(what) is missing: check --store and that the drive is mounted"
    case .directoriesLeftOut(let path, let recorded, let named):
      return "\(path): the store is in \(recorded.joined(separator: ", ")), and only "
        + "\(named.joined(separator: ", ")) is named: name all with --store, or move the records of "
        + "a drive away first with `pagoda store drain`"
    case .sameDirectory(let first, let second):
      return "\(first) and \(second) are the same directory: a store needs each of its directories "
        + "once; name another with --store, or leave one out"
    case .noGeneration(let path, let step, let kept):
      let wanted = step.map { "generation \($0) is not kept" } ?? "nothing was committed yet"
      return "\(path): \(wanted)"
        + (kept.isEmpty ? "" : "; there are: \(kept.map(String.init).joined(separator: ", "))")
    case .notAPath(let path, let directory, let directories):
      return directories.count == 1
        ? "\(path): \(directories[0]) is the store's only directory: add another with `pagoda train "
          + "--store` first"
        : "\(path): \(directory) is no directory of the store, which is in "
          + directories.joined(separator: ", ")
    case .diskTooSmall(let path, let needed, let free):
      return "\(path): the store needs \(ByteCount(needed)), \(ByteCount(free)) are free "
        + "(\(ByteCount(needed - free)) missing): free space or add a drive with --store"
    case .locked(let path, let pid):
      return "\(path) is in use" + (pid.map { " by process \($0)" } ?? "")
        + ": wait until it ends or stop it"
    case .disk(let error): return error.description
    case .transfer(let block, let first, let last, let error):
      return "\(block), \(Self.planes(first, last)): \(error)"
    case .unreadable(let block, let first, let last, let error, let state):
      return "\(block), \(Self.planes(first, last)): \(error); "
        + "\(state.remedy(after: "then"))"
    case .scratch(let error, let setting):
      return "\(error). No record is lost: run the same command again, or with \(setting)"
    case .system(let action, let path, let code):
      return "cannot \(action) \(path): errno \(code): check that the directory is writable"
    case .manifest(let path, let action, let code, let message):
      let remedy =
        Connection.isDamage(code)
        ? "the manifest is damaged: restore the store from a copy or start again with --fresh"
        : "the last generation is whole: free space or mend the drive, and run again"
      return "\(path): cannot \(action): \(message) (SQLite result \(code)); \(remedy)"
    case .memory(let error): return error.description
    case .abandoned(let block):
      return "\(block): its page was dropped while it was being changed; "
        + "the last generation is whole, resume from it"
    case .stoppedWaiting(let path):
      return "stopped while somebody reads an older generation of \(path); the last generation is "
        + "whole: run the same command again"
    }
  }

  private static func planes(_ first: Plane, _ last: Plane) -> String {
    first == last ? "plane \(first)" : "planes \(first) to \(last)"
  }

  /// The sysexits code of a command that ends with this error.
  package var exitCode: Int32 {
    switch self {
    case .damaged, .inconsistent, .foreign, .otherFormat, .belongsToAnother: 65
    case .missing, .noGeneration: 66
    case .memory: 71
    case .abandoned: 70
    case .diskTooSmall: 73
    case .disk(let error), .scratch(let error, _): error.action == .create ? 73 : 74
    case .transfer, .unreadable: 74
    case .system: 74
    case .manifest(_, _, let code, _): Connection.isDamage(code) ? 65 : 74
    case .locked, .stoppedWaiting: 75
    case .sameDirectory, .directoriesLeftOut, .notAPath: 78
    }
  }
}

/// Sixteen lower-case hexadecimal digits.
func hex(_ value: UInt64) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
