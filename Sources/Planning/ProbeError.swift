import Base
package import DirectIO
package import PinnedMemory

/// Why there is no measurement.
package enum ProbeError: Error, Sendable, CustomStringConvertible {
  case noDirectory(path: String)
  case noSpace(path: String, needed: Int, free: Int)
  case memory(MemoryError)
  /// The machine has less memory than the buffers need.
  case noMemory(needed: Int, available: Int)
  case disk(DiskError)
  case wrongData(path: String, offset: Int)
  case noFio
  /// fio ran and failed; `output` is what it said.
  case fio(command: String, output: String)

  package var description: String {
    switch self {
    case .noDirectory(let path):
      "cannot probe \(path): it is not a directory; make it, or give one on the drive in question"
    case .noSpace(let path, let needed, let free):
      "cannot probe \(path): the scratch file needs \(ByteCount(needed)), "
        + "\(ByteCount(free)) are free; give a smaller --size or a directory with more room"
    case .memory(let error):
      "cannot have the buffers: \(error); or give a smaller --footprint, --depth or --request-size"
    case .noMemory(let needed, let available):
      "the buffers need \(ByteCount(needed)) of memory, \(ByteCount(available)) are available: "
        + "give a smaller --footprint, --depth or --request-size, or end other programs"
    case .disk(let error):
      error.description
    case .wrongData(let path, let offset):
      "\(path) at offset \(offset) does not hold what was written: the drive, its driver or the "
        + "memory is faulty; see `dmesg`, run `smartctl -a` and a memory test"
    case .noFio:
      "fio is not installed: run `apt-get install fio`, or leave --fio out"
    case .fio(let command, let output):
      "`\(command)` failed: \(output.isEmpty ? "it said nothing" : output)"
    }
  }
}
