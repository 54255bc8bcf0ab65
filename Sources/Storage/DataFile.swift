import Base
import DirectIO
import Glibc
import PinnedMemory

/// The data file of one path: a signature, then slots of equal size.
///
///     byte 0      magic "PAGODAPG"
///          8      format, UInt32              12  number of the path, UInt32
///         16      creation of the store, nanoseconds since 1970, UInt64
///         24      bytes of a record, UInt64   32  XXH3-64 of the identity
///         40      XXH3-64 of bytes 0..<40     48  zero up to 4096
///       4096      slot 0, slot 1, ...
///
/// Integers are little-endian. A file of zeros was preallocated and never signed: the store's
/// creation was interrupted, and no record can be in it.
struct DataFile {
  static let name = "pages.bin"
  static let headerBytes = 4096
  private static let magic: [UInt8] = Array("PAGODAPG".utf8)

  let file: DiskFile
  let path: String

  /// Opens a data file that is there, with at least so many bytes.
  init(_ path: String, bytes: Int, disk: any Disk, mode: OpenMode) throws(StorageError) {
    let file: DiskFile
    do throws(DiskError) {
      file = try disk.openFile(path, byteCount: bytes, mode)
    } catch {
      switch error.code {
      case ENOENT: throw .missing(path: path, what: "the data file")
      case ELOOP: throw .foreign(path: path, reason: "a symbolic link, not a data file")
      case 0: throw .inconsistent(path: path, reason: error.remedy)
      default: throw .disk(error)
      }
    }
    (self.file, self.path) = (file, path)
  }

  static func byteCount(slots: Int, geometry: RecordGeometry) -> Int {
    headerBytes + slots * geometry.recordBytes
  }

  func offset(of slot: Slot, recordBytes: Int) -> Int {
    Self.headerBytes + slot.index * recordBytes
  }

  /// The header of a file of this store.
  static func signature(of path: Int, in store: StoreDescription) -> [UInt8] {
    var bytes = magic
    append(UInt32(Manifest.format), to: &bytes)
    append(UInt32(path), to: &bytes)
    append(UInt64(store.createdNanoseconds), to: &bytes)
    append(UInt64(store.geometry.recordBytes), to: &bytes)
    append(checksum(of: store.identity), to: &bytes)
    append(checksum(of: bytes), to: &bytes)
    return bytes + [UInt8](repeating: 0, count: headerBytes - bytes.count)
  }

  /// The first bytes of the file at `path`; nil when there is none that can be read.
  static func header(of path: String) -> [UInt8]? {
    let descriptor = unsafe open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: headerBytes)
    let count = unsafe pread(descriptor, &bytes, bytes.count, 0)
    return count == bytes.count ? bytes : nil
  }

  /// When the store of the data file at `path` was made; nil when it is none.
  static func created(at path: String) -> Int? {
    guard let header = header(of: path), header.starts(with: magic) else { return nil }
    return header[16..<24].reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  enum State: Equatable { case unsigned, signed, other }

  /// Compares the header with what it should be; a second time before it is found to be another's,
  /// because the bytes on disk may be right and the transfer wrong.
  func state(on disk: any Disk, expecting signature: [UInt8]) throws(StorageError) -> State {
    let state = try look(on: disk, expecting: signature)
    return state == .other ? try look(on: disk, expecting: signature) : state
  }

  private func look(
    on disk: any Disk, expecting signature: [UInt8]
  ) throws(StorageError) -> State {
    let frame = try Self.headerFrame()
    try transfer(.read, frame.memory, on: disk)
    let found = unsafe Array(frame.memory.bytes)
    if found.allSatisfy({ $0 == 0 }) { return .unsigned }
    return found == signature ? .signed : .other
  }

  /// Writes the header and makes it durable.
  func sign(_ signature: [UInt8], on disk: any Disk) throws(StorageError) {
    let frame = try Self.headerFrame()
    unsafe frame.memory.bytes.copyBytes(from: signature)
    try transfer(.write, frame.memory, on: disk)
    do { try disk.sync(file) } catch { throw .disk(error) }
  }

  /// Moves the header and waits; nothing else is in flight while a store opens.
  private func transfer(
    _ kind: Transfer.Kind, _ memory: PinnedSlice, on disk: any Disk
  ) throws(StorageError) {
    precondition(disk.inFlight == 0, "a store opens on an idle disk")
    disk.submit(Transfer(kind, file, offset: 0, memory: memory, tag: 0))
    guard let completion = disk.nextCompletion(wait: true) else {
      preconditionFailure("a submitted transfer completes")
    }
    if let failure = completion.failure { throw .disk(failure) }
  }

  private static func headerFrame() throws(StorageError) -> PinnedRegion {
    let ledger = MemoryLedger(ceiling: headerBytes)
    do {
      return try PinnedRegion(name: "data file header", byteCount: headerBytes, ledger: ledger)
    } catch {
      throw .memory(error)
    }
  }

  private static func append<I: FixedWidthInteger>(_ value: I, to bytes: inout [UInt8]) {
    unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
  }
}

// MARK: Making

extension DataFile {
  /// Makes a data file in `directory`, preallocated and not yet signed.
  static func make(_ directory: String, bytes: Int, disk: any Disk) throws(StorageError) {
    let path = directory + "/" + name
    do {
      _ = try disk.openFile(path, byteCount: bytes, .create)
    } catch {
      guard error.code == EEXIST else { throw .disk(error) }
      try takeOver(path, bytes: bytes, disk: disk)
    }
    try syncDirectory(directory)
  }

  /// Replaces a data file without a manifest when an interrupted creation left it; anything else is
  /// somebody's.
  private static func takeOver(_ path: String, bytes: Int, disk: any Disk) throws(StorageError) {
    if let leftover = try Leftover(at: path) {
      try leftover.remove()
      do { _ = try disk.openFile(path, byteCount: bytes, .create) } catch { throw .disk(error) }
      return
    }
    // A file that this disk has and the file system has not: a disk in memory, which makes files
    // whole. It goes on being used.
    let file = try DataFile(path, bytes: bytes, disk: disk, mode: .readWrite)
    guard try file.state(on: disk, expecting: []) == .unsigned else {
      throw .foreign(path: path, reason: "a data file without a manifest")
    }
  }
}
