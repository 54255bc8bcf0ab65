import Glibc

/// An empty directory of one test.
final class ScratchDirectory {
  let path: String

  init() {
    var template = Array("/tmp/pagoda-probe-XXXXXX".utf8CString)
    unsafe template.withUnsafeMutableBufferPointer { unsafe _ = mkdtemp($0.baseAddress!) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
  /// Fails, and leaves the directory, when a file was left behind.
  func remove() -> Bool { unsafe rmdir(path) == 0 }
}
