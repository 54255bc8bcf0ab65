import Foundation
import Surgery
import Testing
import Training

/// Two languages over an encoder's and a decoder's layer of four experts: de to en and en to de.
private func usage(there: String = "[0, 1, 2, 3]") throws -> HeldOutUsage {
  let tenths = """
    "choicesByTenth": [4, 4, 0, 0, 0, 0, 0, 0, 0, 8], "keptByTenth": [4, 3, 0, 0, 0, 0, 0, 0, 0, 2]
    """
  let text = """
    {"run": "r", "step": 3,
     "tasks": [{"name": "translate de-en", "source": "de", "target": "en"},
               {"name": "translate en-de", "source": "en", "target": "de"}],
     "layers": [{"layer": 0, \(tenths), "isEncoder": true, "experts": \(there), "tokens": [[6, 0, 0, 2], [0, 5, 1, 2]]},
                {"layer": 1, \(tenths), "isEncoder": false, "experts": \(there), "tokens": [[0, 0, 9, 1], [3, 3, 3, 3]]}]}
    """
  return try JSONDecoder().decode(HeldOutUsage.self, from: Data(text.utf8))
}

@Suite struct ExpertSelectionTests {
  private let all = [Array(0..<4), Array(0..<4)]

  private func kept(
    _ amount: ExpertSelection.Amount, by criterion: ExpertSelection.Criterion = .utilisation,
    least: Int = 1, languages: Set<String>? = nil, there: String = "[0, 1, 2, 3]"
  ) throws -> [[Int]] {
    let usage = try usage(there: there)
    return ExpertSelection(
      languages.map(usage.limited) ?? usage, amount, by: criterion, least: least
    ).kept
  }

  @Test func theMostUsedAreKept() throws {
    // Tokens 6 5 1 4 and 3 3 12 4.
    #expect(try kept(.each(2)) == [[0, 1], [2, 3]])
    // The lower one among equals.
    #expect(try kept(.each(3)) == [[0, 1, 3], [0, 2, 3]])
    #expect(try kept(.each(9)) == all)
    #expect(try kept(.share(0.3)) == [[0, 1], [2, 3]])
    #expect(try kept(.share(0.01)) == [[0], [2]])
    #expect(try kept(.share(0.01), least: 2) == [[0, 1], [2, 3]])
    #expect(try kept(.each(1), there: "[1, 3]") == [[1], [3]])
    // Of all that there were: the same share again drops nothing.
    #expect(try kept(.share(0.5), there: "[1, 3]") == [[1, 3], [1, 3]])
  }

  /// Half of all eight: three times as many of the encoder as of the decoder.
  @Test func sidesMayBeBalanced() throws {
    #expect(try kept(.balanced(share: 0.5, encoderToDecoder: 3)).map(\.count) == [3, 1])
    #expect(try kept(.balanced(share: 0.5, encoderToDecoder: 1)).map(\.count) == [2, 2])
    // What one side has no experts for is the other's.
    #expect(try kept(.balanced(share: 1, encoderToDecoder: 3)).map(\.count) == [4, 4])
    #expect(try kept(.balanced(share: 0.75, encoderToDecoder: 3)).map(\.count) == [4, 2])
    #expect(try kept(.balanced(share: 0.75, encoderToDecoder: 0.25)).map(\.count) == [2, 4])
  }

  /// An encoder's experts by the sources, a decoder's by the targets.
  @Test func languagesMayBeChosen() throws {
    #expect(try kept(.each(1), languages: ["en"]) == [[1], [2]])
    #expect(try kept(.each(2), languages: ["de"]) == [[0, 3], [0, 1]])
  }

  /// The same seed draws the same, and none looks at how they are used.
  @Test func theBaselineIsDrawn() throws {
    var counts = Array(repeating: 0, count: 4)
    for seed in 0..<400 as Range<UInt64> {
      let drawn = try kept(.each(2), by: .random(seed: seed))
      #expect(try drawn == kept(.each(2), by: .random(seed: seed)))
      for expert in drawn[0] { counts[expert] += 1 }
    }
    // 200 of 400 each; ten is a standard deviation.
    #expect(counts.allSatisfy { abs($0 - 200) < 50 })
  }
}

@Suite struct LanguageUsageTests {
  @Test func sharesAreOfEachLanguagesTokens() throws {
    let usage = LanguageUsage(try usage(), by: .language)
    #expect(usage.groups == ["de", "en"])
    #expect(usage.layers[0].shares == [[0.75, 0, 0, 0.25], [0, 0.625, 0.125, 0.25]])
    #expect(usage.layers[1].shares == [[0.25, 0.25, 0.25, 0.25], [0, 0, 0.9, 0.1]])
    #expect(usage.layers[1].groupEvenness[0] == 1)
    #expect(usage.layers[0].keptByTenth == [1, 0.75, 0, 0, 0, 0, 0, 0, 0, 0.25])
    let tasks = LanguageUsage(try self.usage(), by: .task)
    #expect(tasks.groups == ["translate de-en", "translate en-de"])
    #expect(tasks.layers[1].shares[0] == [0, 0, 0.9, 0.1])
  }

  private func usage() throws -> HeldOutUsage { try SurgeryTests.usage() }

  /// The cosine of the two rows.
  @Test func kinshipIsWhatTheyShare() throws {
    let usage = LanguageUsage(try usage(), by: .language)
    let decoder = try #require(usage.kinships.first { !$0.isEncoder })
    let wanted = 0.25 * (0.9 + 0.1) / (0.5 * (0.81 + 0.01).squareRoot())
    #expect(abs(decoder.similarity - wanted) < 1e-12)
    #expect(usage.kinships.count == 2)
  }

  /// First come, first served: who comes late finds experts full. By chance place does not matter.
  @Test func selectionDecidesWhoFindsRoom() throws {
    func kept(_ selection: String) throws -> [Double] {
      var run = try SmallRun(decoderGate: "token", perToken: 1)
      run.config.model.token_selection = selection
      run.config.model.eval_capacity_factor = 0.5
      run.config.model.min_capacity = 1
      try run.train(to: 2)
      let usage = try HeldOutUsage(run.run, run.run.saved, memory: 400 << 20)
      let layers = LanguageUsage(usage, by: .language).layers.map(\.keptByTenth)
      return (0..<10).map { tenth in layers.reduce(0) { $0 + $1[tenth] } / Double(layers.count) }
    }
    let (first, random) = (try kept("first"), try kept("random"))
    #expect(first[0] > 0.9 && first[9] < 0.2)
    #expect((random.max() ?? 1) - (random.min() ?? 0) < 0.4)
  }

  /// Every token of the held-out text chooses as many experts as the gate gives it, in every layer, and
  /// a run whose decoder decides by target sends a language to its own experts alone.
  @Test func heldOutTextIsCounted() throws {
    let run = try SmallRun()
    try run.train(to: 4)
    let usage = try HeldOutUsage(run.run, run.run.saved, memory: 400 << 20)
    let sums = usage.layers.map { $0.total.reduce(0, +) }
    #expect(sums.allSatisfy { $0 > 0 && $0 % 2 == 0 })
    let languages = LanguageUsage(usage, by: .language)
    for row in languages.layers[1].shares { #expect(row.count { $0 > 0 } == 2) }
    #expect(languages.layers[0].shares.contains { $0.count { $0 > 0 } > 2 })
    // As translations and denoising of a language share a gate's decision, so do their rows.
    let tasks = LanguageUsage(usage, by: .task)
    let into = zip(tasks.groups, tasks.layers[1].shares).filter { $0.0.hasSuffix("de") }
    #expect(into.count > 1 && into.allSatisfy { $0.1 == into[0].1 })
  }
}
