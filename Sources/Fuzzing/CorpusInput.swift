import Corpus
import Foundation

/// The first byte says what the others are: `J` the manifest `corpus.json` of a small corpus, `S` its
/// training shard, `H` its held-out shard, `T` its held-out text, each with the checksum that belongs
/// to it; `M` Mallard pages, `W` MediaWiki messages, English and translated with a byte 255 between.
enum CorpusInput {
  private static let scratch = ScratchDirectory("corpus")

  static func run(_ bytes: [UInt8]) {
    let rest = Array(bytes.dropFirst())
    do throws(CorpusError) {
      switch bytes.first {
      case UInt8(ascii: "J"): try openCorpus([:], manifest: rest)
      case UInt8(ascii: "S"): try openCorpus(["train.bin": rest])
      case UInt8(ascii: "H"): try openCorpus(["heldout.bin": rest])
      case UInt8(ascii: "T"): try openCorpus(["heldout.tsv": rest])
      case UInt8(ascii: "M"): try readPackage(rest, "help/C/x.page", "help/de/x.page")
      case UInt8(ascii: "W"): try readPackage(rest, "i18n/en.json", "i18n/de.json")
      default: return
      }
    } catch {
      precondition(!error.description.isEmpty, "an error says something")
    }
  }

  // MARK: Prepared corpora

  /// Opens the small corpus with `changed` files, and does with it what a run does.
  private static func openCorpus(
    _ changed: [String: [UInt8]], manifest: [UInt8]? = nil
  ) throws(CorpusError) {
    scratch.makeDirectory("corpus")
    let files = base.merging(changed) { $1 }
    for (name, bytes) in files { scratch.write(bytes, "corpus/\(name)") }
    scratch.write(manifest ?? Self.manifest(files), "corpus/corpus.json")
    let directory = "\(scratch.path)/corpus"
    let memory = try ParallelCorpus.memory(of: directory)
    let corpus = try ParallelCorpus.open(directory)
    precondition(memory.residentBytes <= memory.peakBytes, "a peak is above what stays")
    _ = TaskMix().listBytesMax(segments: corpus.manifest.languages.map(\.trainingSegments))
    try draw(corpus)
    _ = try corpus.heldOutText()
  }

  private static func draw(_ corpus: ParallelCorpus) throws(CorpusError) {
    let limits = BatchSampler.Limits(microBatchTokens: 64, maxSequenceTokens: 32)
    let heldOut = try HeldOut(corpus: corpus, limits: limits)
    for batch in heldOut.evaluationBatches(tokensPerTaskMax: 64) { check(batch, corpus) }
    var mix = TaskMix()
    mix.pairs = .all
    let sampler = try BatchSampler(corpus: corpus, mix: mix, seed: 1, limits: limits)
    for index in 0..<4 { check(sampler.microBatch(step: 1, index: index), corpus) }
    let pairs = corpus.languages.dropFirst().map { (source: LanguageIndex.english, target: $0) }
    _ = try heldOut.translationSamples(pairs, count: 3)
  }

  private static func check(_ batch: MicroBatch, _ corpus: ParallelCorpus) {
    for token in batch.sourceTokens + batch.targetInput + batch.targetOutput {
      precondition(0 <= token && token < corpus.vocabularySize, "tokens are of the vocabulary")
    }
  }

  private static let base: [String: [UInt8]] = {
    let english: [[UInt16]] = [[20, 21, 22], [23, 24], [25, 26, 27, 28]]
    let german: [[UInt16]] = [[30, 31], [], [32, 33, 34]]
    let shard = [UInt8](TokenShard(cells: [english, german], segmentCount: 3).encoded)
    let text = "en\tde\nOne two three.\tEins zwei.\nFour.\t\nFive to eight.\tF\u{fc}nf bis acht.\n"
    return ["train.bin": shard, "heldout.bin": shard, "heldout.tsv": Array(text.utf8)]
  }()

  private static func manifest(_ files: [String: [UInt8]]) -> [UInt8] {
    let entries = files.sorted { $0.key < $1.key }.map { name, bytes in
      let digits = String(StableHash.of(bytes), radix: 16)
      let checksum = String(repeating: "0", count: 16 - digits.count) + digits
      return #""\#(name)":{"bytes":\#(bytes.count),"checksum":"\#(checksum)"}"#
    }
    let languages = ["en", "de"].map {
      #"{"tag":"\#($0)","trainingSegments":3,"heldOutSegments":3,"trainingTokens":9,"#
        + #""heldOutTokens":9}"#
    }
    let text = #"""
      {"formatVersion":1,"languages":[\#(languages.joined(separator: ","))],"vocabularySize":300,
      "trainingSegments":3,"heldOutSegments":3,"options":{"languages":["de"],"seed":1,
      "segmentsPerLanguageMax":8000,"heldOutShare":0.5,"tokenizer":{"vocabularySize":300,
      "characterCoverage":0.9995,"sampleBytesMax":16000000,"threads":1}},
      "sources":[{"name":"x","licence":"CC0-1.0","segments":3}],
      "files":{\#(entries.joined(separator: ","))},"checksum":"0000000000000000"}
      """#
    return Array(text.utf8)
  }

  // MARK: Packages

  /// Reads English and, behind the first byte 255, its translation.
  private static func readPackage(
    _ bytes: [UInt8], _ english: String, _ translated: String
  ) throws(CorpusError) {
    let folder = String(english.prefix { $0 != "/" })
    for path in [folder, "\(folder)/C", "\(folder)/de"] { scratch.makeDirectory(path) }
    let parts = bytes.split(separator: 0xFF, maxSplits: 1, omittingEmptySubsequences: false)
    scratch.write(Array(parts[0]), english)
    scratch.write(Array(parts.count > 1 ? parts[1] : parts[0]), translated)
    var table = SegmentTable()
    let root = "\(scratch.path)/\(folder)"
    let kept =
      folder == "help"
      ? try MallardReader.read(scratch.path, languages: .all, into: &table)
      : try MediaWikiReader.read(root, languages: .all, into: &table)
    precondition(kept >= table.english.count, "every segment has a translation")
    for text in table.english + table.translations.values.flatMap(\.values) {
      precondition(!text.contains { $0 == "\t" || $0 == "\n" }, "a cell of a table")
    }
  }

  // MARK: Seeds

  static var seeds: [(name: String, bytes: [UInt8])] {
    func seed(_ kind: Character, _ parts: [UInt8]...) -> [UInt8] {
      Array("\(kind)".utf8) + parts.joined(separator: [0xFF])
    }
    func page(_ title: String, _ text: String) -> [UInt8] {
      Array(
        """
        <?xml version="1.0"?><!DOCTYPE page [<!ENTITY e "entity">]>
        <page xmlns="http://projectmallard.org/1.0/" id="x"><!-- c --><info><desc>\(title)</desc>
        </info><title>\(title)</title><p>\(text) <em>&amp; &#233; &e;</em><![CDATA[ data]]></p></page>
        """.utf8)
    }
    func messages(_ text: String) -> [UInt8] {
      Array(
        #"{"@metadata":{"authors":[]},"a":"\#(text)","b":"\u00e9\ud83d\ude00 _x &y \#(text)"}"#.utf8
      )
    }
    return [
      ("manifest", seed("J", manifest(base))), ("shard", seed("S", base["train.bin"] ?? [])),
      ("held-out", seed("H", base["heldout.bin"] ?? [])),
      ("text", seed("T", base["heldout.tsv"] ?? [])),
      (
        "pages",
        seed("M", page("One two three four", "five six"), page("Eins zwei drei", "vier"))
      ),
      (
        "messages",
        seed("W", messages("One two three four five."), messages("Eins zwei drei vier."))
      ),
    ]
  }
}
