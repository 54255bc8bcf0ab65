import Foundation
import TestSupport
import Testing

/// What cannot be run is refused with the exit code and the words that say what to change, before
/// anything is made.
@Suite struct RefusalTests {
  let workplace: Workplace
  init() throws { workplace = try Workplace() }

  @Test func aBudgetTooSmallNamesTheAllocationTheBytesAndTheFlag() throws {
    let least = try LeastBudget.bytes
    let budget = least - 100_000
    try workplace.train("run", "--memory", "\(budget)").expect(
      71, "the least page frames: 192 KiB do not fit under the memory ceiling",
      "100000 bytes are missing in all", "give --memory")
    let ending = try workplace.train("run", "--memory", "1MiB")
    ending.expect(71, "program, runtime and libraries: ")
    // What the refusal advises is enough, at the first try.
    let refusal = /(\d+) bytes are missing in all: give --memory (\d+)MiB/
    let numbers = try #require(ending.errors.firstMatch(of: refusal), "\(ending.errors)")
    #expect(try #require(Int(numbers.1)) == least - (1 << 20))
    let advised = try #require(Int(numbers.2)) << 20
    #expect(advised >= least && advised < least + (1 << 20))
    #expect(!workplace.exists("run"))
  }

  @Test func anUnknownKeyIsAnErrorWithASuggestion() throws {
    try workplace.train("run", "training.learning_rte=1").expect(
      78, "training.learning_rte: unknown key", "did you mean `learning_rate`?")
    try workplace.directory.write("modell: {d_model: 8}\n", "wrong.yaml")
    try Pagoda.run(["train", workplace.path("wrong.yaml"), "--run", workplace.path("run")]).expect(
      78, "wrong.yaml:1: modell: unknown key", "did you mean `model`?")
    // Of the right name, in no section and in the wrong one.
    for key in ["clip", "memory.boundaries"] {
      let name = key.split(separator: ".").last ?? ""
      try workplace.train("run", "\(key)=none").expect(
        78, "\(key): unknown key", "did you mean `training.\(name)`?")
    }
    #expect(!workplace.exists("run"))
  }

  /// An override without a value, of the wrong type, and one that contradicts the rest.
  @Test(arguments: [
    ("training.max_steps", "write key.path=value"),
    ("training.max_steps=many", "training.max_steps: "),
    ("model.num_attention_heads=3", "choose a divisor of 32"),
    ("memory.budget=much", "write 512MiB"),
  ])
  func aBadOverrideIsAnError(_ override: String, _ remedy: String) throws {
    try workplace.train("run", override).expect(78, "error: ", remedy)
    #expect(!workplace.exists("run"))
  }

  @Test func aMissingCorpusIsNamed() throws {
    let missing = workplace.path("nowhere")
    try workplace.train("run", "data.corpus=\(missing)").expect(
      66, "\(missing)/corpus.json", "pagoda corpus prepare")
    #expect(!workplace.exists("run"))
  }

  @Test func aTruncatedShardNamesFileOffsetAndRemedy() throws {
    let copy = workplace.path("corpus")
    try FileManager.default.copyItem(atPath: try Workplace.corpus, toPath: copy)
    let shard = try workplace.bytes("corpus/train.bin")
    try shard.dropLast(7).write(to: URL(fileURLWithPath: copy + "/train.bin"))
    try workplace.train("run", "data.corpus=\(copy)").expect(
      65, "\(copy)/train.bin at offset \(shard.count - 7)", "run pagoda corpus prepare again")
    #expect(!workplace.exists("run"))
  }

  @Test func aRunOfAnotherConfigurationIsRefusedByTheKeysThatDiffer() throws {
    try workplace.trained("run", "--steps", "2")
    let before = try workplace.contents("run")
    try workplace.train("run", "training.learning_rate=0.5").expect(
      78, "learning_rate: 1e-3 there, learning_rate: 5e-1 here", "--fresh")
    #expect(try workplace.contents("run") == before)
  }

  @Test func foreignFilesAreLeftAlone() throws {
    try workplace.directory.write("mine", "run/letter.txt")
    try workplace.train("run").expect(78, "is not empty and holds no Pagoda run", "another --run")
    try workplace.train("run", "--fresh").expect(78, "is not empty and holds no Pagoda run")
    #expect(try workplace.contents("run") == ["letter.txt": Data("mine".utf8)])
  }

  @Test func resumingWantsARun() throws {
    try workplace.train("run", "--resume").expect(66, "the store is missing")
    #expect(!workplace.exists("run"))
  }

  @Test func usageErrorsShowTheUsage() throws {
    let run = workplace.path("run")
    let commands = [
      ["train"], ["train", workplace.config], ["nonsense"], ["translate"],
      ["generate", run, "--beams", "0"],
      ["generate", run, "--beams", "2", "--top-p", "0.5"], ["generate", run, "--top-p", "1.5"],
      ["evaluate", run, "--sentences=-1"],
      ["export", run, run, "--optimizer", "--dtype", "bfloat16"],
      ["train", workplace.config, "--run", run, "--steps", "0"],
      ["train", workplace.config, "--run", run, "--memory", "much"],
      ["train", workplace.config, "--run", run, "--resume", "--fresh"],
      ["train", workplace.config, "--run", run, "--no-such-flag"],
      ["bench", "memory", "--size", "1KiB"], ["bench", "memory", "--threads", "0"],
      ["bench", "memory", "--seconds", "inf"], ["bench", "memory", "--seconds", "1e300"],
      ["bench", "memory", "--seconds", "nan"],
      ["corpus", "prepare", "--packages", "a", "--output", "b", "--top", "2", "--languages", "de"],
    ]
    for command in commands {
      let ending = try Pagoda.run(command)
      ending.expect(64, "Usage: pagoda")
      #expect(ending.output.isEmpty)
    }
    #expect(!workplace.exists("run"))
  }
}
