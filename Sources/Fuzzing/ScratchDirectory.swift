import Glibc

/// A directory for the files of one input after another, gone with the process unless that is
/// killed. In TMPDIR, or in memory.
struct ScratchDirectory: Sendable {
  let path: String

  private static let root: String = {
    let parent = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/dev/shm"
    var template = Array("\(parent)/pagoda-fuzz-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else {
      fatalError("no directory in \(parent): \(errno)")
    }
    atexit { ScratchDirectory.removeAll() }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }()

  init(_ name: String) {
    path = "\(Self.root)/\(name)"
    makeDirectory("")
  }

  private static func removeAll() {
    unsafe _ = nftw(root, { name, _, _, _ in unsafe remove(name!) }, 8, Int32(FTW_DEPTH | FTW_PHYS))
  }

  func makeDirectory(_ name: String) {
    let code = unsafe mkdir("\(path)/\(name)", mode_t(0o700))
    precondition(code == 0 || errno == EEXIST, "a directory for an input: \(errno)")
  }

  /// Makes the file `name` hold exactly these bytes, and a hole behind them up to `byteCount`.
  func write(_ bytes: [UInt8], _ name: String, byteCount: Int? = nil) {
    let descriptor = unsafe open(
      "\(path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode_t(0o600))
    precondition(descriptor >= 0, "a file for an input: \(errno)")
    defer { close(descriptor) }
    let written = unsafe Glibc.write(descriptor, bytes, bytes.count)
    precondition(written == bytes.count, "room for an input")
    precondition(ftruncate(descriptor, off_t(byteCount ?? bytes.count)) == 0, "a hole in a file")
  }

  func read(_ name: String) -> [UInt8] {
    guard let file = unsafe fopen("\(path)/\(name)", "r") else { fatalError("no file \(name)") }
    defer { unsafe _ = fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = unsafe fread(&chunk, 1, chunk.count, file)
      if count == 0 { return bytes }
      bytes += chunk[..<count]
    }
  }
}
