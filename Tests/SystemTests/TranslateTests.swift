import Foundation
import TestSupport
import Testing

/// One line in, one line out.
@Suite struct TranslateTests {
  let workplace: Workplace

  init() throws {
    workplace = try Workplace()
    try workplace.trained("run")
  }

  @Test func everyLineHasItsLineAndEmptyOnesStayEmpty() throws {
    let text = "\nSave the page\n\n   \nThe file does not exist\n\n"
    let ending = try workplace.translate("run", text)
    ending.expect(0)
    let lines = ending.output.components(separatedBy: "\n")
    #expect(lines.count == 7 && lines.last == "")
    #expect([0, 2, 3, 5].allSatisfy { lines[$0].isEmpty })
    #expect(try workplace.translate("run", "").output == "")
  }

  /// More sentences than are generated together, again, and in another order: each line's
  /// translation is its own.
  @Test func translationsDependOnNothingButTheirLine() throws {
    let english = try Sentences.all()["en"] ?? []
    try #require(english.count > 32)
    func translations(_ lines: [String], _ more: String...) throws -> [String] {
      let ending = try Pagoda.run(
        ["translate", workplace.path("run"), "--to", "fr"] + more,
        input: lines.joined(separator: "\n") + "\n")
      ending.expect(0)
      return ending.output.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        .map(String.init)
    }
    let first = try translations(english)
    #expect(first.count == english.count)
    #expect(try translations(english) == first)
    #expect(try translations(english, "--memory", "256MiB") == first)
  }

  /// With or without an end of the last line.
  @Test(arguments: ["", "\n"])
  func aFileReadsLikeStandardInput(_ end: String) throws {
    try workplace.directory.write("Save the page\n\nUsers\(end)", "input.txt")
    let file = try workplace.translate("run", "", "--input", workplace.path("input.txt"))
    file.expect(0)
    #expect(file.output.filter { $0 == "\n" }.count == 3)
    #expect(try file.output == workplace.translate("run", "Save the page\n\nUsers\n").output)
  }

  @Test func aVeryLongLineIsCutWithANote() throws {
    let long = String(repeating: "Save the page and open the file. ", count: 2000)
    let ending = try workplace.translate("run", "Users\n\(long)\nUsers\n")
    ending.expect(0, "line 2 is longer than the model can read and was cut")
    let lines = ending.output.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.count == 4 && lines[0] == lines[2])
    #expect(!ending.errors.contains("line 1") && !ending.errors.contains("line 3"))
  }

  @Test func anUnknownLanguageListsTheKnownOnes() throws {
    let command = ["translate", workplace.path("run"), "--to", "xx"]
    try Pagoda.run(command, input: "Save\n").expect(64, "`xx`", "en, de, fr, ru")
  }

  @Test func whatIsNotThereIsMissing() throws {
    for run in ["empty", "nowhere"] {
      if run == "empty" { try workplace.directory.write("", "empty/.keep") }
      try workplace.translate(run, "Save\n").expect(66, "\(run) holds no run", "--run directory")
    }
    #expect(!workplace.exists("nowhere"))
    let input = workplace.path("no.txt")
    try workplace.translate("run", "", "--input", input).expect(66, "cannot read \(input)")
  }

  /// A run that has not yet committed, as after a kill in its first steps.
  @Test func aRunWithoutAGenerationCannotTranslate() throws {
    let process = try Pagoda.start(
      workplace.training("young", ["checkpoint.every=1000000", "training.max_steps=1000000"]))
    try waitUntil { !workplace.metrics("young").isEmpty }
    process.signal(SIGKILL)
    #expect(try process.wait().exitCode == nil)
    try workplace.translate("young", "Save\n").expect(66, "has no committed generation")
    try workplace.train("young", "training.max_steps=1000000", "--resume").expect(
      66, "has no committed generation")
  }
}
