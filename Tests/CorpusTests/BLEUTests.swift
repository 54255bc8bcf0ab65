import Corpus
import Foundation
import Testing

/// Scores of sacreBLEU 2.6.0 on sentences with words dropped, swapped and lower-cased.
private struct Goldens: Decodable {
  struct Score: Decodable {
    let score: Double
    let scoreTwoRefs: Double
    let counts: [Int]?
    let totals: [Int]?
    let precisions: [Double]?
    let bp: Double?
    let sysLen: Int?
    let refLen: Int?
  }
  struct Set: Decodable {
    let lang: String
    let tokenize: String
    let hyp: [String]
    let refs: [[String]]
    let results: [String: Score]
  }
  let sets: [Set]

  static func read() throws -> [Set] {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Goldens.self, from: Resource.data("golden_bleu_chrf.json")).sets
  }
}

private let tolerance = 1e-9

@Test func bleuEqualsSacreBLEU() throws {
  var compared = 0
  for set in try Goldens.read() {
    guard let tokenization = BLEU.Tokenization(rawValue: set.tokenize) else { continue }
    let golden = try #require(set.results["bleu"])
    let bleu = BLEU(tokenization: tokenization)
    let score = bleu.score(set.hyp, references: [set.refs[0]])
    #expect(abs(score.score - golden.score) < tolerance, "\(set.lang) \(set.tokenize)")
    #expect(score.matches == golden.counts)
    #expect(score.totals == golden.totals)
    for (mine, theirs) in zip(score.precisions, try #require(golden.precisions)) {
      #expect(abs(mine - theirs) < tolerance)
    }
    #expect(abs(score.brevityPenalty - (try #require(golden.bp))) < tolerance)
    #expect(score.hypothesisTokens == golden.sysLen)
    #expect(score.referenceTokens == golden.refLen)
    let two = bleu.score(set.hyp, references: set.refs)
    #expect(abs(two.score - golden.scoreTwoRefs) < tolerance)
    compared += 1
  }
  #expect(compared == 7)
}

@Test func chrFEqualsSacreBLEU() throws {
  for set in try Goldens.read() {
    for (name, metric) in [("chrf", ChrF.chrF2), ("chrf++", ChrF.chrFPlusPlus)] {
      let golden = try #require(set.results[name])
      let one = metric.score(set.hyp, references: [set.refs[0]])
      #expect(abs(one - golden.score) < tolerance, "\(set.lang) \(name)")
      let two = metric.score(set.hyp, references: set.refs)
      #expect(abs(two - golden.scoreTwoRefs) < tolerance, "\(set.lang) \(name)")
    }
  }
}

@Test func extremesOfTheScores() {
  let text = ["The lake froze before the first snow fell.", "Nobody knew who had painted it."]
  #expect(abs(BLEU().score(text, references: [text]).score - 100) < tolerance)
  #expect(abs(ChrF.chrF2.score(text, references: [text]) - 100) < tolerance)
  #expect(BLEU().score(["", ""], references: [text]).score == 0)
  #expect(ChrF.chrF2.score(["", ""], references: [text]) == 0)
  #expect(BLEU().score(["qq", "zz"], references: [text]).score == 0)
}

@Test func theSignatureDoesNotClaimSacreBLEU() {
  #expect(BLEU().signature() == "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|impl:pagoda")
  #expect(
    ChrF.chrFPlusPlus.signature() == "nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|impl:pagoda")
}
