import Corpus
import Foundation
import TestSupport
import Testing
import Tokenizers

/// The tiny tokenizers of TokenizersTests, as checkpoints have them.
enum TinyTokenizer {
  static func t5() throws -> CheckpointTokenizer { try .init(folder: layouts("t5")) }
  static func nllb() throws -> CheckpointTokenizer { try .init(folder: layouts("nllb")) }
  static func llama() throws -> CheckpointTokenizer { try .init(folder: Resource.path("llama")) }

  /// Byte-level BPE with the tokens of chat templates; `end` ends a text.
  static func chat(
    end: String = "<|endoftext|>",
    special: [String] = ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|endoftext|>"]
  ) throws -> CheckpointTokenizer {
    let url = resources.appending(path: "tokenizer.byte_level_bpe.json")
    let text = String(decoding: try Data(contentsOf: url), as: UTF8.self)
    let all = ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|endoftext|>"]
    let tokens = all.enumerated().filter { special.contains($1) }.map { index, text in
      #"{"id": \#(1600 + index), "content": "\#(text)", "special": true},"#
    }
    let list = #""added_tokens": ["#
    let directory = try TemporaryDirectory()
    try directory.write(
      text.replacing(list, with: list + tokens.joined(), maxReplacements: 1), "tokenizer.json")
    try directory.write(
      #"{"bos_token": "\#(end)", "eos_token": "\#(end)"}"#, "tokenizer_config.json")
    return try CheckpointTokenizer(folder: directory.path)
  }

  private static let resources = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "TokenizersTests/Resources")

  private static func layouts(_ name: String) -> String {
    resources.appending(path: "layouts/\(name)").path
  }
}

/// A corpus of the file `name` with `text`, which is gone when this returns: a corpus is in memory.
func textCorpus(
  _ text: String, _ name: String, _ encoder: SequenceEncoder,
  _ change: (inout TextCorpus.Options) -> Void = { _ in }
) throws -> TextCorpus {
  let directory = try TemporaryDirectory()
  try directory.write(text, name)
  var options = TextCorpus.Options()
  options.heldOutShare = 0
  change(&options)
  return try TextCorpus.open("\(directory.path)/\(name)", encoder: encoder, options: options)
}

func t5Encoder(prefix: String = "") throws -> SequenceEncoder {
  try SequenceEncoder(TinyTokenizer.t5(), layout: .sequenceToSequence(start: 0, prefix: prefix))
}

/// One sequence of a micro-batch.
struct Row: Hashable {
  var source: [Int32] = []
  var input: [Int32]
  var labels: [Int32]

  /// Of all sequences.
  static func all(_ batch: MicroBatch) -> [Row] {
    batch.targetSegments.indices.map { i in
      Row(
        source: batch.sourceSegments.isEmpty
          ? [] : Array(batch.sourceTokens[batch.sourceSegments[i]]),
        input: Array(batch.targetInput[batch.targetSegments[i]]),
        labels: Array(batch.targetOutput[batch.targetSegments[i]]))
    }
  }
}

/// The training examples of the first epoch, in its order.
func rows(_ corpus: TextCorpus, seed: UInt64 = 1) throws -> [Row] {
  let sampler = try EpochSampler(
    corpus, seed: seed, microBatchTokens: max(corpus.maxSequenceTokens, 512),
    microBatchesPerStep: 1)
  var rows: [Row] = []
  var step = 0
  while rows.count < corpus.counts.training {
    rows += Row.all(sampler.microBatch(step: step, index: 0))
    step += 1
  }
  return Array(rows.prefix(corpus.counts.training))
}

/// A word for each number, of common letters: the vocabularies have no figures.
func word(_ number: Int) -> String {
  String(String(number).map { Array("etaoinsrhd")[$0.wholeNumberValue ?? 0] })
}

/// A line of JSON.
func line(_ object: Any) throws -> String {
  let data = try JSONSerialization.data(withJSONObject: object, options: .sortedKeys)
  return String(decoding: data, as: UTF8.self) + "\n"
}
