/// Where the tokens of an example stand, by the kind of model that learns from it. x is the text of
/// the source, y that of the target, and each row of the target predicts the label under it.
///
///     sequenceToSequence     source          [prefix] x </s>
///                            target input    start y
///                            labels          y </s>
///
///     languageTagged         source          [source language] x </s>
///                            target input    start [target language] y
///                            labels          [target language] y </s>
///
///     decoderOnly            target input    t0 t1 … t(n-1)
///                            labels          t1 t2 … tn
///
/// Of a decoder alone, the source is empty; of a document all labels count, of a pair and of a
/// conversation those of the answers and their ends, the others are `MicroBatch.ignoredLabel`.
package enum SequenceLayout: Hashable, Sendable {
  /// As T5 and Switch have it.
  /// - `start`: `decoder_start_token_id`, which is the padding.
  /// - `prefix`: what the model is to do, such as "translate English to German: ".
  case sequenceToSequence(start: Int32, prefix: String = "")
  /// As NLLB has it: both sides begin with the token of their language.
  /// - `start`: `decoder_start_token_id`, which is `</s>`.
  case languageTagged(start: Int32)
  /// As Mixtral, OLMoE and Qwen have it.
  /// - `pairs`: how a source asks for its target.
  /// - `chat`: how conversations are written; nil: by the tokens of the vocabulary.
  case decoderOnly(pairs: PairPrompt = .plain(), chat: ChatTemplate? = nil)

  /// What is written around the source of a pair for a decoder alone.
  package enum PairPrompt: Hashable, Sendable {
    /// prefix x separator y </s>
    case plain(prefix: String = "", separator: String = "\n")
    /// A conversation of one question, `prefix` x, and its answer, y.
    case chat(prefix: String = "")
  }

  var isDecoderOnly: Bool {
    if case .decoderOnly = self { true } else { false }
  }
}

/// A token of a decoder's sequence together with whether it is learned: what is only given is kept
/// as its complement, which is negative.
enum GivenToken {
  static func given(_ token: Int32) -> Int32 { ~token }
  static func token(_ stored: Int32) -> Int32 { stored < 0 ? ~stored : stored }
  static func label(_ stored: Int32) -> Int32 { stored < 0 ? MicroBatch.ignoredLabel : stored }
}
