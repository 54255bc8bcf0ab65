import Corpus
import Foundation
import Synchronization
import TestSupport
import Testing

private func prepare(_ directory: TemporaryDirectory, _ package: String = "package") throws {
  try CorpusPreparation(
    inputs: [directory.path + "/" + package], output: directory.path + "/corpus",
    options: Fixture.options
  ).run()
}

/// Directories of the user that happen to have the names of the work are left alone.
@Test func directoriesOfOthersAreNotDeleted() throws {
  let directory = try TemporaryDirectory()
  try Fixture.writePackage(directory, "package")
  try directory.write("mine", "corpus.old/letter")
  try directory.write("{}", "corpus.old/corpus.json")
  try directory.write("mine", "corpus.partial/letter")
  let partial = directory.path + "/corpus.partial"
  #expect(throws: CorpusError.notACorpus(path: partial)) { try prepare(directory) }
  #expect(try String(contentsOfFile: partial + "/letter", encoding: .utf8) == "mine")

  try FileManager.default.removeItem(atPath: partial)
  for _ in 0..<2 { try prepare(directory) }
  let old = directory.path + "/corpus.old/letter"
  #expect(try String(contentsOfFile: old, encoding: .utf8) == "mine")
}

/// A link to a directory on another drive stays one.
@Test func aLinkedCorpusIsReplacedWhereItLies() throws {
  let directory = try TemporaryDirectory()
  try Fixture.writePackage(directory, "package")
  try FileManager.default.createDirectory(
    atPath: directory.path + "/far", withIntermediateDirectories: true)
  let link = directory.path + "/corpus"
  try FileManager.default.createSymbolicLink(
    atPath: link, withDestinationPath: directory.path + "/far")
  for _ in 0..<2 { try prepare(directory) }
  #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link).hasSuffix("/far"))
  #expect(try ParallelCorpus.open(directory.path + "/far").languageCount == 4)
  let around = try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
  #expect(around == ["corpus", "far", "package"])
}

/// Somebody who looks all the time sees a corpus all the time.
@Test func aCorpusIsNeverAbsentWhileItIsReplaced() throws {
  let directory = try TemporaryDirectory()
  let final = directory.path + "/corpus"
  try directory.write("0", "corpus/corpus.json")
  let watcher = Watcher(final + "/corpus.json")
  for round in 1...300 {
    try directory.write("\(round)", "corpus.partial/corpus.json")
    try DirectoryReplacement.publish(final + ".partial", as: final)
  }
  let (looks, absences) = watcher.end()
  #expect(looks > 300 && absences == 0)
  #expect(try String(contentsOfFile: final + "/corpus.json", encoding: .utf8) == "300")
}

/// Looks for a file again and again, in a thread of its own.
private final class Watcher: Sendable {
  private let isOver = Atomic(false)
  private let looks = Atomic(0)
  private let absences = Atomic(0)
  private let ended = DispatchSemaphore(value: 0)

  init(_ path: String) {
    Thread.detachNewThread { [self] in
      while !isOver.load(ordering: .relaxed) {
        if unsafe access(path, F_OK) != 0 { absences.add(1, ordering: .relaxed) }
        looks.add(1, ordering: .relaxed)
      }
      ended.signal()
    }
  }

  func end() -> (looks: Int, absences: Int) {
    isOver.store(true, ordering: .relaxed)
    ended.wait()
    return (looks.load(ordering: .relaxed), absences.load(ordering: .relaxed))
  }
}

/// A file system that cannot exchange names: the old corpus is set aside for a moment.
@Test func replacementWorksWithoutExchange() throws {
  let directory = try TemporaryDirectory()
  let final = directory.path + "/corpus"
  try directory.write("old", "corpus/corpus.json")
  try directory.write("new", "corpus.partial/corpus.json")
  try DirectoryReplacement.publish(final + ".partial", as: final, canExchange: false)
  #expect(try String(contentsOfFile: final + "/corpus.json", encoding: .utf8) == "new")
  #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["corpus"])

  try directory.write("new", "corpus.partial/corpus.json")
  try directory.write("{}", "corpus.old/corpus.json")
  #expect(throws: CorpusError.notACorpus(path: final + ".old")) {
    try DirectoryReplacement.publish(final + ".partial", as: final, canExchange: false)
  }
}

/// The end came in that moment: the next start brings the corpus back, even if it then fails.
@Test func aCorpusSetAsideComesBack() throws {
  let directory = try TemporaryDirectory()
  try directory.write("", "corpus.old/.pagoda-unfinished")
  try directory.write("{}", "corpus.old/corpus.json")
  #expect(throws: CorpusError.missingInput(path: directory.path + "/gone")) {
    try prepare(directory, "gone")
  }
  #expect(
    try String(contentsOfFile: directory.path + "/corpus/corpus.json", encoding: .utf8) == "{}")
}
