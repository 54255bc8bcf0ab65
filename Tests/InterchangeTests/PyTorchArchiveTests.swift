import Foundation
import Fuzzing
import Interchange
import TestSupport
import Testing

private func archive(_ bytes: [UInt8]) throws -> PyTorchArchive {
  let directory = try TemporaryDirectory()
  return try PyTorchArchive(directory.write(bytes, "x.bin"))
}

private let floats = (0..<64).map { UInt8($0) }

/// Bytes, and words of what is said of them.
private struct Case {
  let cause: String
  let bytes: [UInt8]

  init(_ cause: String, _ bytes: [UInt8]) {
    self.cause = cause
    self.bytes = bytes
  }
  /// A pickle of opcodes that are letters, and then bytes.
  init(_ cause: String, text: String, _ rest: UInt8...) { self.init(cause, opcodes(text) + rest) }
}

private func opcodes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A file of one pickle and the storage `0` of 16 floats.
private func file(_ pickle: [UInt8]) -> [UInt8] {
  ZipForge.checkpoint(pickle, ["0": floats]).file
}

private func tensor(
  _ shape: [Int], _ strides: [Int], offset: Int = 0, count: Int = 16,
  storageClass: String = "FloatStorage"
) -> [UInt8] {
  PickleForge.dictionary {
    $0.add(
      tensor: "a", shape: shape, strides: strides, offset: offset, storage: "0", count: count,
      storageClass: storageClass)
  }
}

@Suite struct PyTorchArchiveTests {
  @Test func whatIsSaidOfTensorsIsWhatTorchSaved() throws {
    let archive = try PyTorchArchive(resource("pytorch/kinds.bin"))
    let tensors = Dictionary(uniqueKeysWithValues: archive.tensors.map { ($0.name, $0) })
    #expect(archive.tensors.count == 19 && archive.tensors[0].name == "plain")
    #expect(tensors["plain"]?.shape == [3, 4] && tensors["plain"]?.strides == [4, 1])
    #expect(tensors["transposed"]?.shape == [6, 4] && tensors["transposed"]?.strides == [1, 6])
    #expect(tensors["permuted"]?.strides == [1, 12, 4])
    #expect(tensors["expanded"]?.strides == [1, 0])
    #expect(tensors["scalar"]?.shape == [] && tensors["empty"]?.shape == [0, 4])
    #expect(tensors["half"]?.type == .f16 && tensors["brain"]?.type == .bf16)
    #expect(tensors["double"]?.type == .f64 && tensors["parameter"]?.type == .f32)
    #expect(tensors["cut.rows"]?.storageOffset == 16 && tensors["cut.columns"]?.storageOffset == 3)
    // Views of one storage share it, tied tensors all of it.
    #expect(tensors["cut.rows"]?.storageKey == tensors["stepped"]?.storageKey)
    #expect(tensors["tied.first"]?.storageKey == tensors["tied.second"]?.storageKey)
    #expect(tensors["tied.first"]?.storageKey != tensors["plain"]?.storageKey)
  }

  /// Every kind of type and stride, whole, by the row and by the piece, is what PyTorch itself made
  /// of it.
  @Test func numbersAreThoseThatTorchHas() throws {
    let places = [try TemporaryDirectory(), try TemporaryDirectory()]
    let found = try CheckpointFolder(
      file: resource("pytorch/kinds.bin"), as: "pytorch_model.bin", places[0])
    let wanted = try CheckpointFolder(
      file: resource("pytorch/kinds.safetensors"), as: "model.safetensors", places[1])
    #expect(found.names == wanted.names)
    #expect(found.areTied("tied.first", "tied.second") && !found.areTied("tied.first", "plain"))
    #expect(!found.areTied("cut.rows", "cut.columns"))
    for name in wanted.names {
      let bits = try wanted.bits(name)
      #expect(found.tensor(name)?.shape == wanted.tensor(name)?.shape)
      #expect(try found.bits(name) == bits, "\(name)")
      let (rows, columns) = (wanted.rowCount(name), wanted.columnCount(name))
      guard !bits.isEmpty else { continue }
      for row in 0..<rows {
        #expect(
          try found.bits(name, rows: row..<row + 1)
            == Array(bits[row * columns..<(row + 1) * columns]), "\(name) \(row)")
      }
      let piece = columns / 3..<columns
      let part: [UInt32] = (rows / 2..<rows).flatMap { row in
        piece.map { bits[row * columns + $0] }
      }
      #expect(try found.bits(name, rows: rows / 2..<rows, columns: piece) == part, "\(name)")
    }
  }

  @Test(arguments: ["protocol-2", "protocol-3", "protocol-4", "protocol-5", "without-checksums"])
  func everyProtocolReads(_ name: String) throws {
    let place = try TemporaryDirectory()
    let folder = try CheckpointFolder(
      file: resource("pytorch/\(name).bin"), as: "pytorch_model.bin", place)
    #expect(folder.tensors.map(\.name) == ["a", "b"])
    #expect(try folder.bits("a") == (0..<6).map { Float($0).bitPattern })
    #expect(try folder.bits("b") == [Float(7).bitPattern])
  }

  @Test func theStateOfAModuleReads() throws {
    let place = try TemporaryDirectory()
    let folder = try CheckpointFolder(
      file: resource("pytorch/state-dict.bin"), as: "pytorch_model.bin", place)
    #expect(folder.names == ["0.weight", "0.bias", "1.weight", "1.bias"])
    #expect(try folder.bits("0.bias") == [Float(0.5).bitPattern, Float(-0.5).bitPattern])
  }

  /// As a machine writes it whose bytes come most significant first.
  @Test func theOtherByteOrderReads() throws {
    var forge = ZipForge.checkpoint(
      tensor([2], [1], count: 2), ["0": [0x3F, 0x80, 0, 0, 0xC0, 0, 0, 0]])
    forge.entries[1].bytes = Array("big".utf8)
    let place = try TemporaryDirectory()
    try place.write(forge.file, "pytorch_model.bin")
    #expect(
      try CheckpointFolder(place.path).bits("a") == [Float(1).bitPattern, Float(-2).bitPattern])
    forge.entries[1].bytes = Array("pdp".utf8)
    #expect(badData { _ = try archive(forge.file) }?.contains("neither little nor big") == true)
  }

  /// Older files have neither a 64-bit end nor the order of bytes.
  @Test func plainZipFilesRead() throws {
    var forge = ZipForge.checkpoint(tensor([4, 4], [4, 1]), ["0": floats])
    forge.entries.remove(at: 1)
    forge.hasLargeEnd = false
    forge.comment = Array("PK".utf8)
    #expect(try archive(forge.file).tensors.count == 1)
  }

  /// Sizes and starts above 4 GiB stand elsewhere; small ones may too.
  @Test func largeNumbersReadFromTheirExtra() throws {
    var forge = ZipForge.checkpoint(tensor([4, 4], [4, 1]), ["0": floats])
    let header = UInt64(forge.entries[0].bytes.count + 87)  // 30 + 10, 30 + 11 + 6
    forge.entries[2].listedBytes = 0xFFFF_FFFF
    forge.entries[2].listedHeader = 0xFFFF_FFFF
    func extra(_ size: UInt64, _ start: UInt64) -> [UInt8] {
      var bytes: [UInt8] = [1, 0, 24, 0]
      for number in [size, size, start] { bytes += ZipForge.number(number, 8) }
      return bytes
    }
    forge.entries[2].extra = [9, 0, 1, 0, 7] + extra(64, header)
    #expect(try archive(forge.file).tensors.count == 1)
    // The same with lies.
    let lies: [(size: UInt64, start: UInt64)] = [
      (65, header), (1 << 63, header), (.max, 0), (64, 1 << 63), (64, .max), (64, header + 1),
      (64, 0),
    ]
    for lie in lies {
      forge.entries[2].extra = extra(lie.size, lie.start)
      #expect(badData { _ = try archive(forge.file) } != nil, "\(lie)")
    }
    forge.entries[2].extra = [1, 0, 8, 0] + ZipForge.number(64, 8)
    #expect(badData { _ = try archive(forge.file) } != nil)
  }

  /// What PyTorch writes and nothing here reads, with words of what is said of it.
  @Test(arguments: [
    ("legacy", "PyTorch before 1.6; write it anew: `torch.save(torch.load("),
    ("complex", "names `torch.ComplexFloatStorage`, which tensors do not need"),
    ("nested", "`model` is a dictionary, not a tensor; save the state_dict"),
  ])
  func whatIsNotReadIsSaid(_ name: String, _ cause: String) {
    let path = resource("pytorch/\(name).bin")
    let text = badData { _ = try PyTorchArchive(path) }
    #expect(text?.contains(cause) == true && text?.hasPrefix(path) == true, "\(text ?? "")")
  }

  @Test(arguments: [("integers", "int64"), ("float8", "float8_e4m3fn")])
  func numbersThatAreNoFloatsAreListedAndNotRead(_ name: String, _ type: String) throws {
    let place = try TemporaryDirectory()
    let folder = try CheckpointFolder(
      file: resource("pytorch/\(name).bin"), as: "pytorch_model.bin", place)
    #expect(folder.tensor("a")?.type.torchName == type)
    let text = badData { _ = try folder.bits("a") }
    #expect(text?.contains("`a` is of type \(type); convert it") == true)
  }
}

@Suite struct HostileArchiveTests {
  /// Pickles that call or name what they must not.
  @Test(arguments: [
    ("os", "system", "`os.system`"), ("builtins", "eval", "`builtins.eval`"),
    ("torch", "load", "`torch.load`"), ("torch._utils", "_rebuild", "`torch._utils._rebuild`"),
    ("torch.storage", "_load_from_bytes", "_load_from_bytes`"),
    ("\u{1B}[2J", "\u{202E}", #"`\u{1b}[2J.\u{202e}`"#),
  ])
  func forbiddenNamesAreRefused(_ module: String, _ name: String, _ cause: String) throws {
    for version in [UInt8(2), 4] {
      let marker = try TemporaryDirectory().path + "/run"
      let pickle = PickleForge.dictionary(version: version) {
        $0.add(text: "a")
        $0.add(global: module, name)
        $0.add(text: "touch \(marker)")
        $0.add([0x85, UInt8(ascii: "R")])
      }
      let text = badData { _ = try archive(file(pickle)) }
      #expect(text?.contains(cause) == true, "\(text ?? "")")
      // The offset of the name in the file: behind header and name of the first entry.
      let start = try #require(pickle.firstIndex(of: version < 4 ? UInt8(ascii: "c") : 0x93))
      #expect(text?.contains("at offset \(40 + start):") == true, "\(text ?? "")")
      #expect(!FileManager.default.fileExists(atPath: marker))
    }
  }

  @Test(arguments: [
    (UInt8(ascii: "i"), "INST"), (UInt8(ascii: "o"), "OBJ"), (0x81, "NEWOBJ"), (0x82, "EXT1"),
    (0x92, "NEWOBJ_EX"), (UInt8(ascii: "]"), "EMPTY_LIST"), (UInt8(ascii: "G"), "BINFLOAT"),
    (UInt8(ascii: "P"), "PERSID"), (UInt8(ascii: "2"), "DUP"), (0xFF, "0xff"),
  ])
  func forbiddenOpcodesAreRefused(_ opcode: UInt8, _ name: String) {
    let text = badData { _ = try archive(file([0x80, 2, opcode, 0, 0, 0, 0])) }
    #expect(
      text?.contains("at offset 42: a pickle with the opcode \(name)") == true, "\(text ?? "")")
  }

  /// Tensors that lie outside their storage, and numbers that pass 2^63.
  @Test(arguments: [
    tensor([4, 5], [4, 1]), tensor([4, 4], [4, 1], offset: 1), tensor([4, 4], [5, 1]),
    tensor([-1, 4], [4, 1]), tensor([4, 4], [-4, 1]), tensor([4, 4], [4, 1], offset: -1),
    tensor([1 << 62, 4], [4, 1]), tensor([2, 2], [.max, 1]), tensor([2], [1], offset: .max),
    tensor([0], [1], offset: .max), tensor([.max], [0]), tensor([3, 2], [.max, .max]),
    tensor([2], [1], count: .max), tensor([2], [1], count: -1), tensor([2], [1], count: 15),
    tensor([2], [1], count: 17), tensor([2], [1], storageClass: "UntypedStorage"),
    tensor([2], [1], storageClass: "Size"), tensor([2], [1, 1]), tensor([2], []),
    tensor([Int](repeating: 1, count: 65), [Int](repeating: 1, count: 65)),
  ])
  func tensorsOutsideTheirStorageAreRefused(_ pickle: [UInt8]) {
    #expect(badData { _ = try archive(file(pickle)) } != nil)
  }

  @Test func pickleDefectsAreRefused() throws {
    func members(_ add: @escaping (inout PickleForge) -> Void) -> [UInt8] {
      PickleForge.dictionary(add)
    }
    func one(_ pickle: inout PickleForge, _ key: String) {
      pickle.add(tensor: "a", shape: [1], strides: [1], storage: key, count: 16)
    }
    let cases: [Case] = [
      Case(
        "`a` is there twice",
        members {
          one(&$0, "0")
          one(&$0, "0")
        }),
      Case("no entry for the storage `1`", members { one(&$0, "1") }),
      Case("no entry for the storage `../0`", members { one(&$0, "../0") }),
      Case(
        "`a` is a string, not a tensor",
        members {
          $0.add(text: "a")
          $0.add(text: "b")
        }),
      Case(
        "`a` is a name",
        members {
          $0.add(text: "a")
          $0.add(global: "torch", "float32")
        }),
      Case("a key without a value", members { $0.add(text: "a") }),
      Case(
        "a key that is a number",
        members {
          $0.add(number: 1)
          $0.add(text: "b")
        }),
      Case("nothing is kept as 7", text: "}h", 7),
      Case("no mark", text: "}u."), Case("no mark", text: "t."),
      Case("no value", text: "}(q", 0), Case("fewer than 2 values", text: "}R"),
      Case("something else than one dictionary", text: "N."),
      Case("something else than one dictionary", text: "}}."),
      Case("something else than one dictionary", text: "}(."),
      Case("bytes behind the end", text: "}.."), Case("without an end", text: "}"),
      Case("without an end", text: "", 0x80), Case("protocol 6", text: "", 0x80, 6),
      Case("protocol 1", text: "", 0x80, 1),
      Case("a string of 4294967295 bytes", text: "X", 255, 255, 255, 255),
      Case(
        "the number 18446744073709551615", text: "", 0x8D, 255, 255, 255, 255, 255, 255, 255, 255),
      Case("a name without an end", text: "ccollections"),
      Case("not UTF-8", text: "", 0x8C, 1, 0xFF),
      Case("a number of 255 bytes", text: "", 0x8A, 255),
      Case("a call of a dictionary", text: "})R"),
      Case("a call of a type", text: "ctorch\nint8\n)R"),
      Case("attributes of something else", text: "NNb"),
      Case("a reference to something else", text: "NQ"), Case("items of None", text: "NNNs"),
      Case("a name that is no string", text: "NN", 0x93),
    ]
    for one in cases {
      let text = badData { _ = try archive(file(one.bytes)) }
      #expect(text?.contains(one.cause) == true, "\(one.cause): \(text ?? "")")
    }
  }

  /// Values that hold each other and themselves cost what their opcodes cost.
  @Test(.timeLimit(.minutes(1))) func bombsDoNotGoOff() {
    // Each tuple holds the one before three times: 3^300000 when written out.
    var tuples = opcodes(")")
    let triple = opcodes("q\0h\0h\0") + [0x87]
    for _ in 0..<300_000 { tuples += triple }
    tuples += opcodes(".")
    let nested = opcodes(")") + [UInt8](repeating: 0x85, count: 1 << 20) + opcodes(".")
    let marks = [UInt8](repeating: 0x28, count: 1 << 20)
    // A dictionary that is its own member.
    let own = opcodes("}q\0(X\u{1}\0\0\0ah\0u.")
    // A place of the memo that no table could have.
    var far = opcodes("}r")
    far += [255, 255, 255, 255]
    far += opcodes("NN.")
    // More values than a checkpoint could need: memory for none of them.
    let many = [UInt8](repeating: 0x4E, count: 1 << 22 | 1)
    #expect(badData { _ = try archive(file(many)) }?.contains("more than 4194304 values") == true)
    for bytes in [tuples, nested, marks, own, far] {
      #expect(badData { _ = try archive(file(bytes)) } != nil)
    }
  }

  /// Zip files that are not what they say.
  @Test func zipDefectsAreRefused() throws {
    let sound = ZipForge.checkpoint(tensor([4, 4], [4, 1]), ["0": floats])
    func changed(_ change: (inout ZipForge) -> Void) -> [UInt8] {
      var forge = sound
      change(&forge)
      return forge.file
    }
    let cases: [Case] = [
      Case("is compressed; write the file anew", changed { $0.entries[2].method = 8 }),
      Case("is encrypted", changed { $0.entries[2].flags = 1 }),
      Case("has another header", changed { $0.entries[2].headerName = "x/data/9" }),
      Case("overlaps what follows", changed { $0.entries[0].listedBytes = 1 << 20 }),
      Case("overlaps what follows", changed { $0.entries[2].listedBytes = 65 }),
      Case("overlaps what follows", changed { $0.entries[2].listedHeader = 0 }),
      Case("is outside the file", changed { $0.entries[2].listedHeader = 0xFFFF_FFFE }),
      Case("has 63 bytes, its tensors say 64", changed { $0.entries[2].listedBytes = 63 }),
      Case("does not have the checksum", changed { $0.entries[0].checksum = 1 }),
      Case("is there twice", changed { $0.entries.append($0.entries[2]) }),
      Case("0 entries NAME/data.pkl", changed { $0.entries[0].name = "data.pkl" }),
      Case("2 entries NAME/data.pkl", changed { $0.entries.append(.init("y/data.pkl", [])) }),
      Case(
        "3 entries, not 4 as the end says",
        changed {
          $0.listedEntries = 4
          $0.hasLargeEnd = false
        }),
      Case("do not agree", changed { $0.listedEntries = 4 }),
      Case("do not agree", changed { $0.listedLargeEntries = 1 << 63 }),
      Case("does not end where", changed { $0.listedDirectoryBytes = 1 << 63 }),
      Case("does not end where", changed { $0.listedDirectoryStart = 1 << 63 }),
      Case("does not end where", changed { $0.listedDirectoryStart = .max }),
      Case("does not end where", changed { $0.listedDirectoryBytes = 0 }),
      Case("no end of a zip file", Array(sound.file.dropLast())),
      Case("no end of a zip file", sound.file + [0]),
      Case("no checkpoint of PyTorch", [0] + sound.file), Case("no checkpoint of PyTorch", []),
      Case("a pointer of Git LFS", text: "version https://git-lfs.github.com/spec/v1\n"),
    ]
    #expect(try archive(sound.file).tensors.count == 1)
    for one in cases {
      let text = badData { _ = try archive(one.bytes) }
      #expect(text?.contains(one.cause) == true, "\(one.cause): \(text ?? "")")
    }
  }

  /// Cut short anywhere, a file of PyTorch is an error.
  @Test func everyTruncationIsAnError() throws {
    let place = try TemporaryDirectory()
    let whole = Array(
      try Data(contentsOf: URL(fileURLWithPath: resource("pytorch/protocol-2.bin"))))
    for count in 0..<whole.count {
      let path = try place.write(Array(whole[..<count]), "x.bin")
      #expect(badData { _ = try PyTorchArchive(path) } != nil, "\(count) bytes")
    }
  }

  /// Every byte of a file of PyTorch changed in three ways: an error of bad data, or, where nothing
  /// is said (times, versions, padding) or numbers themselves lie, the same tensors.
  @Test(arguments: ["protocol-2", "protocol-4"])
  func everyChangedByteIsAnErrorOrChangesNothing(_ name: String) throws {
    let place = try TemporaryDirectory()
    let path = resource("pytorch/\(name).bin")
    let whole = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    let tensors = try PyTorchArchive(path).tensors
    var refused = 0
    for index in whole.indices {
      for mask in [0x01, 0x80, 0xFF] as [UInt8] {
        var bytes = whole
        bytes[index] ^= mask
        let changed = try place.write(bytes, "x.bin")
        do throws(InterchangeError) {
          #expect(try PyTorchArchive(changed).tensors == tensors, "byte \(index)")
        } catch {
          #expect(error.exitCode == 65, "byte \(index): \(error)")
          refused += 1
        }
      }
    }
    #expect(refused > whole.count && refused < 3 * whole.count)
    #expect(try FileManager.default.contentsOfDirectory(atPath: place.path) == ["x.bin"])
  }
}
