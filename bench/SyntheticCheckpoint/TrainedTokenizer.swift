import Corpus
package import Interchange
import Training

/// A SentencePiece model for the vocabulary of a checkpoint, and the settings that say where its
/// pieces stand in it: T5's for Switch, NLLB's for NLLB-MoE, Llama's for decoders.
package struct TrainedTokenizer: Sendable {
  package let files: [(name: String, bytes: [UInt8])]
  /// Members of `config.json` that must be what the tokenizer has.
  package let specialIDs: [String: JSONValue]
  package let pieceCount: Int
  /// With those beside the pieces.
  package let tokenCount: Int
  package let seconds: Double

  /// - Parameters:
  ///   - lines: of text. Too few of them for so many pieces give fewer.
  ///   - languages: that have a token each in NLLB's layout, the first that of sources.
  /// - Throws: `CorpusError.tokenizer`.
  init(
    _ configuration: ModelConfiguration, lines: [String], languages: [String], threads: Int
  ) throws {
    let start = ContinuousClock.now
    let layout = Layout(configuration, languages)
    let model = try trainSentencePiece(
      layout.arguments + [
        "--model_type=unigram", "--hard_vocab_limit=false", "--character_coverage=0.9995",
        "--num_threads=\(threads)", "--shuffle_input_sentence=false",
        "--max_sentence_length=16384", "--unk_piece=<unk>", "--bos_piece=<s>", "--eos_piece=</s>",
        "--pad_piece=<pad>",
      ], lines: lines)
    files = [
      (layout.fileName, Array(model)),
      (
        "tokenizer_config.json",
        Array((JSONValue.object(layout.settings).json + "\n").utf8)
      ),
    ]
    specialIDs = layout.specialIDs
    pieceCount = Self.pieces(in: Array(model))
    tokenCount = pieceCount + layout.addedCount
    seconds = (ContinuousClock.now - start).seconds
  }

  /// Records of field 1 of a message of Protocol Buffers that SentencePiece wrote: each begins with
  /// the byte 10 and its length in one or two bytes, and all come first.
  private static func pieces(in model: [UInt8]) -> Int {
    var (count, index) = (0, 0)
    while index + 2 < model.count, model[index] == 10 {
      let (low, high) = (Int(model[index + 1]), Int(model[index + 2]))
      index += low < 0x80 ? 2 + low : 3 + (low & 0x7F) + high << 7
      count += 1
    }
    return count
  }

  /// Of a family.
  private struct Layout {
    let fileName: String
    let arguments: [String]
    let settings: [String: JSONValue]
    let specialIDs: [String: JSONValue]
    let addedCount: Int

    init(_ configuration: ModelConfiguration, _ languages: [String]) {
      let rows = configuration.vocabularySize
      switch configuration.family {
      case .switchTransformers: self.init(t5: rows)
      case .nllbMoE: self.init(fairseq: rows, languages)
      case .decoder: self.init(llama: rows)
      }
    }

    /// Of 32128 rows 32000 are pieces and 100 extra ids behind them; small vocabularies have fewer.
    private init(t5 rows: Int) {
      addedCount = min(100, rows / 8)
      let free = rows - addedCount
      fileName = "spiece.model"
      arguments =
        Self.pieces(free < 1024 ? free : free / 128 * 128)
        + ["--pad_id=0", "--eos_id=1", "--unk_id=2", "--bos_id=-1"]
        + ["--normalization_rule_name=nmt_nfkc"]
      settings = [
        "tokenizer_class": "T5Tokenizer", "extra_ids": .integer(addedCount),
        "additional_special_tokens": .array(
          (0..<addedCount).map { .string("<extra_id_\($0)>") }), "eos_token": "</s>",
        "pad_token": "<pad>", "unk_token": "<unk>", "legacy": true,
      ]
      specialIDs = ["pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0]
    }

    /// Pieces are one higher than in the model, the languages and `<mask>` follow them.
    private init(fairseq rows: Int, _ languages: [String]) {
      addedCount = languages.count + 2
      fileName = "sentencepiece.bpe.model"
      arguments =
        Self.pieces(rows - addedCount)
        + ["--unk_id=0", "--bos_id=1", "--eos_id=2", "--pad_id=-1"]
        + ["--normalization_rule_name=nmt_nfkc"]
      settings = [
        "tokenizer_class": "NllbTokenizer",
        "additional_special_tokens": .array(languages.map { .string($0) }),
        "src_lang": .string(languages[0]), "legacy_behaviour": false, "bos_token": "<s>",
        "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "mask_token": "<mask>",
        "pad_token": "<pad>", "unk_token": "<unk>",
      ]
      specialIDs = [
        "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
      ]
    }

    /// Of all decoders, whose published tokenizers are of several kinds.
    private init(llama rows: Int) {
      addedCount = 0
      fileName = "tokenizer.model"
      arguments =
        Self.pieces(rows) + ["--unk_id=0", "--bos_id=1", "--eos_id=2", "--pad_id=-1"]
        + ["--normalization_rule_name=identity", "--remove_extra_whitespaces=false"]
      settings = [
        "tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "add_eos_token": false,
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": .null,
        "legacy": false,
      ]
      specialIDs = ["bos_token_id": 1, "eos_token_id": 2, "pad_token_id": .null]
    }

    /// Where there is room for the bytes, rare characters are spelled in them.
    private static func pieces(_ count: Int) -> [String] {
      ["--vocab_size=\(count)", "--byte_fallback=\(count >= 1024)"]
    }
  }
}
