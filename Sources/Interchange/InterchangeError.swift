import Glibc

/// Why a file of a model cannot be read or written. Each description says where and what to do.
package enum InterchangeError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Not what its format says, from the byte `offset` on.
  case malformed(path: String, offset: Int, cause: String)
  /// In order, as far as can be seen, and nothing that is read; `remedy` says what to do.
  case unsupported(path: String, offset: Int, cause: String, remedy: String)
  case missing(path: String, what: String)
  /// A failed system call; `offset` counts from the start of the file.
  case system(action: String, path: String, offset: Int, code: Int32)
  /// A directory that is to be made, and holds something already.
  case occupied(path: String)
  /// Another process is making it.
  case inUse(path: String)
  /// A directory that cannot take its name in one step.
  case notReplaceable(path: String, cause: String)
  case tooSmall(path: String, neededBytes: Int, freeBytes: Int)

  package var description: String {
    switch self {
    case .malformed(let path, let offset, let cause):
      "\(path) at offset \(offset): \(cause); get the file again from where it came"
    case .unsupported(let path, let offset, let cause, let remedy):
      "\(path) at offset \(offset): \(cause); \(remedy)"
    case .missing(let path, let what):
      "\(path): \(what) is missing; check the path and that all files were copied"
    case .system(let action, let path, let offset, let code):
      "cannot \(action) \(path) at offset \(offset): \(Self.text(code)); "
        + (code == ENOSPC || code == EDQUOT ? "free space" : "check the path, the drive and rights")
        + " and run the same command again"
    case .occupied(let path):
      "\(path) is not empty; name a directory that does not exist yet, or empty it"
    case .inUse(let path):
      "\(path) is locked: another process is at it; wait until it ends or stop it"
    case .notReplaceable(let path, let cause):
      "\(path) \(cause); name a directory below it"
    case .tooSmall(let path, let needed, let free):
      "\(path): \(needed) bytes are to be written, \(free) are free "
        + "(\(needed - free) missing); free space or name a directory on another drive"
    }
  }

  /// Of sysexits.h.
  package var exitCode: Int32 {
    switch self {
    case .malformed, .unsupported: 65
    case .missing: 66
    case .occupied, .notReplaceable, .tooSmall: 73
    case .inUse: 75
    case .system(let action, _, _, _): action == "create" ? 73 : 74
    }
  }

  private static func text(_ code: Int32) -> String { unsafe String(cString: strerror(code)) }
}
