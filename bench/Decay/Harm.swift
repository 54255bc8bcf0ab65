import Glibc
import Storage

/// One bit flipped in a file, or a file cut.
struct Harm: CustomStringConvertible {
  enum Content {
    case header
    /// Of the last generation, or only of older ones.
    case record(isOfLast: Bool, geometry: RecordGeometry)
    case freeSlot
    /// A data file as a whole.
    case dataFile
    case manifest
    case digest
  }
  enum Kind {
    case flip(byte: Int, bit: Int)
    case cut(length: Int)
  }

  let path: String
  let content: Content
  /// The bytes of the record, slot or file.
  let place: Range<Int>
  let kind: Kind

  /// The class that it is counted in.
  var name: String {
    let what =
      switch content {
      case .header: "header of a data file"
      case .record(true, _): "record of the last generation"
      case .record(false, _): "record of older generations"
      case .freeSlot: "free slot"
      case .dataFile: "data file"
      case .manifest: "manifest"
      case .digest: "digest of the manifest"
      }
    return isCut ? "cut: \(what)" : "bit: \(what)"
  }

  var isCut: Bool { if case .cut = kind { true } else { false } }

  var description: String {
    switch kind {
    case .flip(let byte, let bit): "bit \(bit) of byte \(byte) of \(path) (\(name))"
    case .cut(let length): "\(path) cut to \(length) bytes (\(name))"
    }
  }

  /// The plane that was hit, for a record.
  var plane: Plane? {
    guard case .record(_, let geometry) = content, case .flip(let byte, _) = kind else {
      return nil
    }
    let offset = byte - place.lowerBound
    return Plane.allCases.last { geometry.offset(of: $0) <= offset }
  }

  /// Does it to the file.
  func inflict() throws {
    let file = unsafe open(path, O_RDWR | O_CLOEXEC)
    defer { close(file) }
    switch kind {
    case .cut(let length):
      guard ftruncate(file, length) == 0 else { throw Miss("cannot cut \(path): errno \(errno)") }
    case .flip(let byte, let bit):
      var value: UInt8 = 0
      guard unsafe pread(file, &value, 1, byte) == 1 else {
        throw Miss("cannot read \(path): errno \(errno)")
      }
      value ^= 1 << UInt8(bit)
      guard unsafe pwrite(file, &value, 1, byte) == 1 else {
        throw Miss("cannot write \(path): errno \(errno)")
      }
    }
  }
}
