import Corpus
import Foundation
import TestSupport
import Testing

@Suite struct DistilledCorpusTests {
  private let corpus: ParallelCorpus
  private let directory: TemporaryDirectory

  init() throws {
    corpus = try Fixture.shared.corpus
    directory = try TemporaryDirectory()
  }

  /// Sources stay, targets are the teacher's, other languages have nothing, and held-out text is whole. A
  /// sentence that it says nothing of is left out.
  @Test func targetsAreTheTeachers() throws {
    let distilled = try DistilledCorpus(corpus, task: "de-en", limit: 6)
    #expect(distilled.segments.count == 6)
    let answers = distilled.segments.indices.map { $0 == 2 ? [] : [Int32(300 + $0), 17] }
    let output = directory.path + "/student"
    let manifest = try distilled.write(answers, teacher: "a teacher", to: output)
    let student = try ParallelCorpus.open(output)
    #expect(student.manifest == manifest && manifest.trainingSegments == 5)
    #expect(manifest.sources.last?.name == "a teacher")
    #expect(manifest.checksum != corpus.manifest.checksum)
    for (place, number) in [0, 1, 3, 4, 5].enumerated() {
      let segment = distilled.segments[number]
      #expect(student.training.tokens(place, distilled.target) == [UInt16(300 + number), 17])
      #expect(
        student.training.tokens(place, distilled.source).elementsEqual(
          corpus.training.tokens(segment, distilled.source)))
      for language in corpus.languages
      where language != distilled.source && language != distilled.target {
        #expect(student.training.count(place, language) == 0)
      }
    }
    #expect(student.heldOut == corpus.heldOut)
    #expect(try student.heldOutText() == corpus.heldOutText())
    #expect(try student.tokenizer().encode("Save") == corpus.tokenizer().encode("Save"))
    // And again: a corpus is replaced, anything else is not.
    _ = try distilled.write(answers, teacher: "a teacher", to: output)
    #expect(throws: CorpusError.self) {
      try distilled.write(answers, teacher: "a teacher", to: directory.path)
    }
  }

  @Test(arguments: ["de", "de-de", "de-xx", "", "de-en-fr"])
  func otherTasksAreNamed(_ task: String) {
    let error = #expect(throws: CorpusError.self) {
      try DistilledCorpus(corpus, task: task, limit: nil)
    }
    #expect(error.map { "\($0)" }?.contains("`\(task)` is no direction") == true)
  }
}
