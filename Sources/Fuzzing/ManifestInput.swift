import DirectIO
import Storage

/// The first byte says what the others are: `F` the file `manifest.sqlite` of a small store, `P`
/// changes of single bytes of it (two bytes of offset, one of value), `E` changes of its rows, which
/// get digests that belong to them (`ManifestForge`).
enum ManifestInput {
  private static let scratch = ScratchDirectory("manifest")
  private static var directories: [String] { ["a", "b"].map { "\(scratch.path)/\($0)" } }
  private static let manifestName = "a/manifest.sqlite"

  static func run(_ bytes: [UInt8]) {
    let base = base
    let rest = Array(bytes.dropFirst())
    switch bytes.first {
    case UInt8(ascii: "F"): scratch.write(rest, manifestName)
    case UInt8(ascii: "P"): scratch.write(patched(base, rest), manifestName)
    case UInt8(ascii: "E"):
      let forge = ManifestForge(base)
      forge.move(to: scratch.path)
      forge.edit(rest)
      scratch.write(forge.sealed(), manifestName)
    default: return
    }
    do throws(StorageError) {
      try describe()
    } catch {
      precondition(!error.description.isEmpty, "an error says something")
    }
    do throws(StorageError) {
      try open()
    } catch {
      precondition(!error.description.isEmpty, "an error says something")
    }
  }

  private static func describe() throws(StorageError) {
    let store = try Store.describe(directories[0])
    precondition(!store.activePaths.isEmpty, "a store has a directory")
    _ = try Store.directories(of: directories[0])
  }

  private static func open() throws(StorageError) {
    let disk = openDisk(preferring: .threads, queueDepth: 1).disk
    let store = try Store.openReadOnly(paths: directories, disk: disk)
    _ = StoreInventory(store)
    _ = store.writtenPaths
    for block in store.writtenBlocks {
      guard let record = store.record(of: block) else { preconditionFailure("a written block") }
      // What the next step of training does to it.
      _ = record.history.updates + 1
      _ = record.history.tokens + 1 << 32
      _ = store.place(of: block)
    }
    precondition(store.generation.map { $0.step + 1 > 0 } ?? true, "there is a next step")
    _ = try store.scrub()
  }

  private static func patched(_ base: [UInt8], _ changes: [UInt8]) -> [UInt8] {
    var bytes = base
    for start in stride(from: 0, to: changes.count - 2, by: 3) {
      bytes[(Int(changes[start]) << 8 | Int(changes[start + 1])) % bytes.count] = changes[start + 2]
    }
    return bytes
  }

  /// The manifest of a store of two directories, the same in every process; their data files are
  /// mostly holes, and large enough for many slots.
  private static let base: [UInt8] = {
    do {
      for name in ["a", "b"] { scratch.makeDirectory(name) }
      let configuration = StoreConfiguration(
        paths: directories, identity: "fuzz",
        geometry: RecordGeometry(parametersPerBlock: 64), blocks: 6, keep: 2)
      func open(create: Bool) throws -> Int {
        try Store.open(
          configuration, disk: openDisk(preferring: .threads).disk, create: create
        ).description.createdNanoseconds
      }
      _ = try open(create: true)
      let forge = ManifestForge(scratch.read(manifestName))
      forge.make(constant: true)
      scratch.write(forge.sealed(), manifestName)
      // Signed anew, for the constant creation.
      for name in ["a", "b"] { scratch.write([], "\(name)/pages.bin", byteCount: 1 << 20) }
      let created = try open(create: false)
      precondition(created == ManifestForge.created, "the time of creation is a constant")
      let headers = ["a", "b"].map { Array(scratch.read("\($0)/pages.bin")[..<4096]) }
      for (name, header) in zip(["a", "b"], headers) {
        scratch.write(header, "\(name)/pages.bin", byteCount: 1 << 42)
      }
      forge.make(constant: false)
      return forge.sealed()
    } catch {
      fatalError("the small store: \(error)")
    }
  }()

  static var seeds: [(name: String, bytes: [UInt8])] {
    func edit(_ kind: UInt8, _ table: UInt8, _ row: UInt8, _ column: UInt8, _ value: Int) -> [UInt8]
    {
      [kind * 5 + table, row, column, 1]
        + (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    let edits = (0..<3).flatMap { kind in
      (0..<5).map { table in edit(UInt8(kind), UInt8(table), 1, 1, 3) }
    }
    return [
      ("file", [UInt8(ascii: "F")] + base), ("patch", [UInt8(ascii: "P"), 0, 100, 1]),
      ("whole", [UInt8(ascii: "E")]),
    ]
      + edits.enumerated().map { ("edit-\($0)", [UInt8(ascii: "E")] + $1) }
  }
}
