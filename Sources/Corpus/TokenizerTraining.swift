import Foundation

/// How the SentencePiece vocabulary is trained.
package struct TokenizerTraining: Codable, Equatable, Sendable {
  package var vocabularySize = 8000
  /// Share of all characters that get a piece of their own; the rest is spelled in bytes.
  package var characterCoverage = 0.9995
  /// UTF-8 bytes of training text, shared evenly between the languages.
  package var sampleBytesMax = 16_000_000
  /// Part of the result: expectations are summed per thread, so another number rounds differently.
  package var threads = 2

  package init() {}

  /// Trains a unigram model with byte fallback on `lines`, in the order given.
  ///
  /// Text is not normalised beyond white space, so that decoding gives back what was encoded.
  /// - Returns: the serialised model. A pure function of the arguments.
  func train(lines: [String], languages: [String]) throws(CorpusError) -> Data {
    let special = languages.map { "<2\($0)>" } + ["<denoise>", "<mask>"]
    let arguments = [
      "--model_type=unigram", "--byte_fallback=true", "--normalization_rule_name=identity",
      "--vocab_size=\(vocabularySize)", "--character_coverage=\(characterCoverage)",
      "--pad_id=\(SpecialTokens.pad)", "--bos_id=\(SpecialTokens.start)",
      "--eos_id=\(SpecialTokens.end)", "--unk_id=\(SpecialTokens.unknown)",
      "--control_symbols=\(special.joined(separator: ","))", "--num_threads=\(threads)",
      "--shuffle_input_sentence=false", "--max_sentence_length=16384",
    ]
    return try trainSentencePiece(arguments, lines: lines)
  }
}
