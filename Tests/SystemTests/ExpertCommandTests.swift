import Foundation
import TestSupport
import Testing

/// `pagoda expert`: what a person types, and what comes of wrong words.
@Suite struct ExpertCommandTests {
  let workplace: Workplace

  init() throws {
    workplace = try Workplace()
    try workplace.trained(
      "run", "--steps", "4", "model.decoder_gate=target_language", "evaluation.max_tokens=400")
  }

  private func expert(_ words: String...) throws -> Ending { try Pagoda.run(["expert"] + words) }

  private func fields(_ ending: Ending) throws -> [String: Any] {
    let any = try JSONSerialization.jsonObject(with: Data(ending.output.utf8))
    return try #require(any as? [String: Any])
  }

  private var run: String { workplace.path("run") }

  @Test func heldOutTextIsShownByLanguageAndTask() throws {
    let page = workplace.path("experts.html")
    let shown = try expert("stats", run, "--held-out", "--html", page)
    shown.expect(0)
    #expect(shown.output.contains("(decoder)") && shown.output.contains("similarity"))
    #expect(!shown.output.contains("\u{1B}"), "no colour where no terminal is")
    let html = try String(contentsOfFile: page, encoding: .utf8)
    #expect(html.hasPrefix("<!doctype html>") && !html.contains("http"))
    #expect(html.components(separatedBy: "<td title=").count > 10)

    let json = try expert("stats", run, "--held-out", "--by", "task", "--json")
    json.expect(0)
    let groups = try #require(try fields(json)["groups"] as? [String])
    #expect(groups.contains("translate de-en") && groups.contains("denoise fr"))
  }

  @Test func aTaskIsTakenOut() throws {
    let output = workplace.path("small")
    let ending = try expert("extract", run, output, "--task", "en-de", "--json")
    ending.expect(0)
    let counts = try #require(try fields(ending)["experts"] as? [Int])
    #expect(counts.last == 1)
    let line = "Save the page\n"
    let (whole, small) = (
      try workplace.translate("run", line), try workplace.translate("small", line)
    )
    small.expect(0)
    #expect(small.output == whole.output)
    try Pagoda.run(["translate", output, "--to", "fr"], input: line)
      .expect(64, "it is for *-de alone")
    try expert("extract", run, output, "--task", "en-de").expect(73, "exists")
    try expert("extract", run, workplace.path("x"), "--task", "en-xx").expect(64, "is no task")
    try expert("extract", workplace.path("none"), output, "--task", "en-de").expect(66, "no run")
  }

  /// What the run says becomes a corpus, and a dense student learns from it.
  @Test func aStudentIsTaught() throws {
    let corpus = workplace.path("student-corpus")
    let ending = try Pagoda.run(
      ["corpus", "distill", run, corpus, "--task", "en-de", "--limit", "12", "--beams", "2"]
        + ["--length-penalty", "3", "--json"])
    ending.expect(0)
    #expect(try fields(ending)["training_segments"] as? Int ?? 0 > 0)
    try workplace.trained(
      "student", "--steps", "2", "data.corpus=\(corpus)", "data.tasks=[en-de]",
      "model.num_experts=1", "evaluation.max_tokens=400")
    let evaluated = try Pagoda.run(
      ["evaluate", workplace.path("student"), "--sentences", "4", "--json"])
    evaluated.expect(0)
    #expect(evaluated.output.contains("translate en-de") && !evaluated.output.contains("de-en"))
    try Pagoda.run(["corpus", "distill", run, corpus, "--task", "de"]).expect(64, "no direction")
    try Pagoda.run(["corpus", "distill", run, run, "--task", "en-de", "--limit", "2"])
      .expect(65, "is not a corpus")
  }

  @Test func aRunIsPruned() throws {
    let output = workplace.path("pruned")
    try expert("prune", run, output, "--keep", "1").expect(0)
    try workplace.translate("pruned", "Save the page\n").expect(0)
    let ending = try expert("prune", run, "--share", "0.5", "--random", "3", "--json")
    ending.expect(0)
    #expect(try fields(ending)["bytes"] as? Int ?? 0 > 0)
    // Again: the same share of what there was is kept, and nothing more goes.
    let again = try expert("prune", run, "--share", "0.5", "--random", "3", "--json")
    #expect(try fields(again)["kept"] as? [[Int]] == fields(ending)["kept"] as? [[Int]])
    try Pagoda.run(["store", "verify", workplace.path("run/store")]).expect(0)
    let config = workplace.path("run/config.yaml")
    try Pagoda.run(["train", config, "--run", run]).expect(0)
    // Words that say nothing, or two things.
    try expert("prune", run).expect(64, "either --keep or --share")
    try expert("prune", run, "--keep", "1", "--share", "0.5").expect(64, "either")
    try expert("prune", run, "--keep", "0").expect(64, "at least 1")
    try expert("prune", run, "--keep", "2", "--language", "xx").expect(64, "knows no language")
  }

  @Test func twoRunsAreUnited() throws {
    try workplace.trained(
      "other", "--steps", "4", "seed=77", "model.decoder_gate=target_language",
      "evaluation.max_tokens=400")
    let output = workplace.path("both")
    let ending = try expert("aggregate", run, workplace.path("other"), output, "--json")
    ending.expect(0)
    #expect(try fields(ending)["step"] as? Int == 4)
    let config = output + "/config.yaml"
    try Pagoda.run(["train", config, "--run", output]).expect(0, "continuing at step 5")
    try expert("aggregate", run, output, workplace.path("x")).expect(65, "not of the same shape")
    try expert("aggregate", run, run, output).expect(73, "exists")
  }
}
