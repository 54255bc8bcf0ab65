import Foundation
import Fuzzing
import Testing

/// Inputs that fuzzers found, and those that reading the code suggested: all of them made a reader
/// trap, wait without end or take memory without measure. None may do that again. One after another:
/// a target writes the files of all its inputs in one place.
@Suite(.serialized) struct KeptInputTests {
  @Test(.timeLimit(.minutes(1)), arguments: FuzzTarget.allCases)
  func seedsAreRead(_ target: FuzzTarget) {
    #expect(target.seeds.count >= 3)
    for (_, bytes) in target.seeds { target.run(bytes) }
  }

  @Test(.timeLimit(.minutes(1)), arguments: try inputs())
  func inputsAreRead(_ target: FuzzTarget, _ name: String) throws {
    target.run(Array(try Data(contentsOf: Self.directory(target).appending(path: name))))
  }

  /// What a fuzzer kept because it reached code that nothing before it had, a line of base64 each.
  @Test(.timeLimit(.minutes(1)), arguments: FuzzTarget.allCases)
  func foundInputsAreRead(_ target: FuzzTarget) throws {
    let file = Bundle.module.bundleURL.appending(path: "Inputs/\(target.rawValue).found")
    let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
    #expect(lines.count > 20)
    for line in lines {
      target.run(Array(try #require(Data(base64Encoded: String(line)))))
    }
  }

  /// A run of the fuzzer ends as these do, when nothing is wrong: without a word.
  @Test func anInputOfNoKindIsNone() {
    for target in FuzzTarget.allCases {
      target.run([])
      target.run([0])
    }
  }

  private static func directory(_ target: FuzzTarget) -> URL {
    Bundle.module.bundleURL.appending(path: "Inputs/\(target.rawValue)")
  }

  private static func inputs() throws -> [(FuzzTarget, String)] {
    let all = try FuzzTarget.allCases.flatMap { target in
      try FileManager.default.contentsOfDirectory(atPath: directory(target).path).sorted()
        .map { (target, $0) }
    }
    try #require(all.count >= 10)
    return all
  }
}
