import Glibc
package import PinnedMemory

/// A piece of a transfer, as the kernel sees it.
package struct Request: Sendable {
  /// How often EIO, or an answer without progress, is answered by asking again.
  package static let errorsAllowed = 3
  /// How often in a row EINTR and EAGAIN are. Far beyond what a working machine gives; a limit so
  /// that a broken one ends in a message.
  package static let interruptionsAllowed = 10_000

  package let kind: Transfer.Kind
  package let file: OpenFile
  /// The row of its transfer in the `TransferTable`.
  package let row: Int
  package private(set) var offset: Int
  package private(set) var memory: PinnedSlice
  private var errors = 0
  private var interruptions = 0

  package init(
    _ kind: Transfer.Kind, _ file: OpenFile, row: Int, offset: Int, memory: PinnedSlice
  ) {
    self.kind = kind
    self.file = file
    self.row = row
    self.offset = offset
    self.memory = memory
  }
}

/// What follows from the kernel's answer to a request.
package enum Verdict {
  case done
  /// To be asked again: the rest of a short transfer, or the same once more.
  case again(Request)
  case failed(DiskError)
}

extension Request {
  /// Decides about the answer to this request. The one place where short transfers are continued
  /// and errors retried, whatever the engine.
  ///
  /// - Parameter result: bytes moved, or a negative errno.
  package func verdict(_ result: Int) -> Verdict {
    if result == memory.byteCount { return .done }
    precondition(result < memory.byteCount, "the kernel moves at most what was asked")
    if result == 0, kind == .read { return .failed(endOfFile(at: offset)) }
    if result >= 0 { return continued(after: result) }

    let code = Int32(-result)
    var next = self
    switch code {
    case EINTR, EAGAIN:
      next.interruptions += 1
      return next.interruptions > Self.interruptionsAllowed ? .failed(error(code)) : .again(next)
    case EIO:
      next.errors += 1
      return next.errors > Self.errorsAllowed ? .failed(error(code)) : .again(next)
    case EBADF, EFAULT:
      preconditionFailure("a request names an open file and mapped memory (errno \(code))")
    default:
      return .failed(error(code))
    }
  }

  /// The rest after a short transfer, from the last aligned position on: O_DIRECT refuses others.
  private func continued(after moved: Int) -> Verdict {
    let whole = moved / file.alignment * file.alignment
    var next = self
    next.offset += whole
    unsafe next.memory = PinnedSlice(
      address: memory.address + whole, byteCount: memory.byteCount - whole)
    next.errors = whole > 0 ? 0 : errors + 1
    next.interruptions = 0
    guard next.errors > Self.errorsAllowed else { return .again(next) }
    switch kind {
    case .read: return .failed(endOfFile(at: offset + moved))
    case .write: return .failed(error(ENOSPC))
    }
  }

  /// - Parameter latest: where the file ends, or beyond; the file itself knows better.
  private func endOfFile(at latest: Int) -> DiskError {
    let found = lseek(file.descriptor, 0, SEEK_END)
    let end = found < 0 ? latest : found
    return DiskError(
      .read, path: file.path, offset: offset, length: memory.byteCount, code: 0,
      remedy: "the file ends at \(end): it was cut or belongs to something else; restore it from a "
        + "copy or start afresh")
  }

  private func error(_ code: Int32) -> DiskError {
    DiskError(
      kind == .read ? .read : .write, path: file.path, offset: offset, length: memory.byteCount,
      errno: code)
  }
}
