import Corpus
import Foundation
import TestSupport
import Testing

/// A copy of the fixture's corpus that a test may damage.
private func copy() throws -> TemporaryDirectory {
  let directory = try TemporaryDirectory()
  try FileManager.default.copyItem(
    atPath: Fixture.shared.corpus.directory, toPath: directory.path + "/corpus")
  return directory
}

@Test func aCorpusOpensAsItWasWritten() throws {
  let corpus = try Fixture.shared.corpus
  let memory = try ParallelCorpus.memory(of: corpus.directory)
  let held = corpus.training.residentBytes + corpus.heldOut.residentBytes
  // The files add a header of 32 bytes each.
  #expect(memory.residentBytes == held + 64)
  #expect(memory.peakBytes > memory.residentBytes)
  let again = try ParallelCorpus.open(corpus.directory)
  #expect(again.training == corpus.training)
  #expect(again.heldOut == corpus.heldOut)
}

@Test(arguments: ["train.bin", "heldout.bin"])
func truncatedShardsAreRefused(_ name: String) throws {
  let directory = try copy()
  let path = directory.path + "/corpus/" + name
  let whole = try Data(contentsOf: URL(fileURLWithPath: path))
  for length in [0, 7, 31, 32, whole.count / 2, whole.count - 1] {
    try whole.prefix(length).write(to: URL(fileURLWithPath: path))
    let cause = "\(length) bytes where \(whole.count) are due"
    #expect(throws: CorpusError.damaged(path: path, offset: length, cause: cause)) {
      try ParallelCorpus.open(directory.path + "/corpus")
    }
  }
}

@Test(arguments: ["train.bin", "heldout.bin", "spm.model", "heldout.tsv"])
func flippedBitsAreRefused(_ name: String) throws {
  let directory = try copy()
  let path = directory.path + "/corpus/" + name
  var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
  bytes[bytes.count / 2] ^= 0x10
  try bytes.write(to: URL(fileURLWithPath: path))
  let error = #expect(throws: CorpusError.self) {
    let corpus = try ParallelCorpus.open(directory.path + "/corpus")
    _ = try corpus.tokenizer()
    _ = try corpus.heldOutText()
  }
  guard case .damaged(let named, _, _) = try #require(error) else {
    Issue.record("\(String(describing: error))")
    return
  }
  #expect(named == path)
  #expect(error?.description.hasSuffix("run pagoda corpus prepare again") == true)
}

@Test func aDirectoryWithoutManifestIsNoCorpus() throws {
  let directory = try TemporaryDirectory()
  #expect(throws: CorpusError.self) { try ParallelCorpus.open(directory.path) }
  try directory.write("{\"formatVersion\": 1}", "corpus.json")
  #expect(throws: CorpusError.self) { try ParallelCorpus.open(directory.path) }
}

/// Numbers of the manifest that no corpus has, and that sums would pass `Int` with.
@Test(arguments: [
  ("\"vocabularySize\" : 600", "\"vocabularySize\" : 7"),
  ("\"vocabularySize\" : 600", "\"vocabularySize\" : 65537"),
  ("\"bytes\" : ", "\"bytes\" : 46116860184273"),
  ("\"trainingSegments\" : ", "\"trainingSegments\" : -"),
])
func impossibleNumbersAreRefused(_ old: String, _ new: String) throws {
  let directory = try copy()
  let path = directory.path + "/corpus/corpus.json"
  let text = try String(contentsOfFile: path, encoding: .utf8)
  try #require(text.contains(old))
  try directory.write(text.replacing(old, with: new), "corpus/corpus.json")
  let cause = "it has numbers that cannot be"
  #expect(throws: CorpusError.damaged(path: path, offset: 0, cause: cause)) {
    try ParallelCorpus.memory(of: directory.path + "/corpus")
  }
}
