import Tokenizers

/// The first byte says what the others are: `J` a `tokenizer.json`; `T`, `N`, `L` the SentencePiece
/// model of a T5, of NLLB and of a Llama, by itself; `t`, `n`, `l` the settings beside a small model
/// of that kind, which are `tokenizer_config.json`, `special_tokens_map.json` and `config.json` with
/// a byte 255 between them.
enum TokenizerInput {
  private static let scratch = ScratchDirectory("tokenizer")
  private static let settings = [
    "tokenizer_config.json", "special_tokens_map.json", "config.json",
  ]

  static func run(_ bytes: [UInt8]) {
    let rest = Array(bytes.dropFirst())
    guard let kind = bytes.first.map({ Character(Unicode.Scalar($0)) }) else { return }
    do throws(TokenizerError) {
      switch kind {
      case "J": try use([("tokenizer.json", rest)], in: "json")
      case "T", "N", "L":
        guard let model = ModelFile(rawValue: kind.lowercased()) else { return }
        try use([(model.name, rest)], in: "model-\(kind)")
      default:
        guard let model = ModelFile(rawValue: String(kind)) else { return }
        let parts = rest.split(separator: 0xFF, maxSplits: 2, omittingEmptySubsequences: false)
        let files = zip(settings, parts + Array(repeating: [], count: 3)).map { name, part in
          (name, part.isEmpty ? Array("{}".utf8) : Array(part))
        }
        try use([(model.name, model.forged)] + files, in: "settings-\(kind)")
      }
    } catch {
      precondition(!error.description.isEmpty, "an error says something")
    }
  }

  private enum ModelFile: String {
    case t5 = "t"
    case fairseq = "n"
    case llama = "l"

    var name: String {
      switch self {
      case .t5: "spiece.model"
      case .fairseq: "sentencepiece.bpe.model"
      case .llama: "tokenizer.model"
      }
    }

    var forged: [UInt8] {
      switch self {
      case .t5: PieceForge.model(.unigram, specials: ["<pad>", "</s>", "<unk>"])
      case .fairseq: PieceForge.model(.bytePairs, specials: ["<unk>", "<s>", "</s>"])
      case .llama: PieceForge.model(.unigram, specials: ["<unk>", "<s>", "</s>"], hasBytes: true)
      }
    }
  }

  /// Short, since an expression may take time that is exponential in the length.
  private static let texts = [
    "", " ", "ab  aab\n1234", "<s>a</s> eng_Latn", "<extra_id_0> b", "\u{e9}e\u{301} \u{fb01}\u{0}",
    "\u{4e2d}\u{6587} \u{1f600}\u{200d}", "aaaaaaaaaaaaaaaa!",
  ]

  private static func use(
    _ files: [(name: String, bytes: [UInt8])], in folder: String
  ) throws(TokenizerError) {
    scratch.makeDirectory(folder)
    for (name, bytes) in files { scratch.write(bytes, "\(folder)/\(name)") }
    let tokenizer = try CheckpointTokenizer(folder: "\(scratch.path)/\(folder)")
    let special = tokenizer.special
    for id in [special.start, special.end, special.padding, special.unknown] {
      precondition(id ?? 0 >= 0, "an id is not negative")
    }
    for text in texts {
      do throws(TokenizerError) {
        let ids = try tokenizer.encode(text, addSpecialTokens: true)
        for id in ids {
          precondition((0..<tokenizer.vocabularySize).contains(Int(id)), "an id of the vocabulary")
          guard let token = tokenizer.token(of: id) else { fatalError("every id has a token") }
          precondition(tokenizer.id(of: token) == id, "a token has one id")
        }
        _ = tokenizer.decode(ids, skipSpecialTokens: true)
        _ = tokenizer.decode(ids, skipSpecialTokens: false)
      } catch {
        precondition(!error.description.isEmpty, "an error says something")
      }
    }
    let count = Int32(tokenizer.vocabularySize)
    let ids = [.min, -1, count, .max] + Array(0..<min(count, 64))
    _ = tokenizer.decode(ids, skipSpecialTokens: false)
  }

  // MARK: Seeds

  static var seeds: [(name: String, bytes: [UInt8])] {
    func seed(_ kind: Character, _ parts: [UInt8]...) -> [UInt8] {
      Array("\(kind)".utf8) + parts.joined(separator: [0xFF])
    }
    let map = PieceForge.emptyMap
    return [
      ("byte-pairs", seed("J", Array(bytePairs.utf8))), ("unigram", seed("J", Array(unigram.utf8))),
      ("t5", seed("T", ModelFile.t5.forged)), ("nllb", seed("N", ModelFile.fairseq.forged)),
      ("llama", seed("L", ModelFile.llama.forged)),
      ("map", seed("L", PieceForge.model(.unigram, specials: ["<unk>", "<s>", "</s>"], map: map))),
      ("t5-settings", seed("t", Array(t5.utf8), [], Array(#"{"model_type":"t5"}"#.utf8))),
      ("nllb-settings", seed("n", Array(nllb.utf8), Array(nllbMap.utf8), Array(nllbModel.utf8))),
      ("llama-settings", seed("l", Array(llama.utf8), [], Array(llamaModel.utf8))),
    ]
  }

  private static let bytePairs = #"""
    {"added_tokens":[{"id":8,"content":"<s>","special":true,"lstrip":true,"rstrip":false,
    "single_word":false,"normalized":false},{"id":9,"content":"x","normalized":true}],
    "normalizer":{"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Lowercase"},
    {"type":"Prepend","prepend":"_"},{"type":"Strip","strip_left":true,"strip_right":false},
    {"type":"Replace","pattern":{"String":"1"},"content":"a"}]},
    "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split",
    "pattern":{"Regex":"\\p{N}|\\s+(?!\\S)"},"behavior":"Isolated","invert":true},
    {"type":"Digits","individual_digits":true},
    {"type":"Metaspace","replacement":"_","prepend_scheme":"first","split":true},
    {"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]},
    "post_processor":{"type":"TemplateProcessing","single":[
    {"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
    "special_tokens":{"<s>":{"id":"<s>","ids":[8],"tokens":["<s>"]}}},
    "decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"},
    {"type":"Replace","pattern":{"String":"_"},"content":" "},
    {"type":"Strip","content":" ","start":1,"stop":0}]},
    "model":{"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,
    "ignore_merges":false,"vocab":{"a":0,"b":1,"ab":2,"<unk>":3,"aab":4,"_":5,"<0x0A>":6},
    "merges":["a b",["a","ab"]]}}
    """#

  private static let unigram = #"""
    {"normalizer":{"type":"Precompiled","precompiled_charsmap":"CAAAAAAAAAAAAAAA"},
    "pre_tokenizer":{"type":"WhitespaceSplit"},"decoder":{"type":"Metaspace","replacement":"\u2581"},
    "model":{"type":"Unigram","unk_id":1,"byte_fallback":false,
    "vocab":[["a",-1.5],["<unk>",0],["ab",-2],["\u4e2d",-3e0]]}}
    """#

  private static let t5 = #"""
    {"extra_ids":4,"eos_token":"</s>","pad_token":{"content":"<pad>"},"unk_token":"<unk>",
    "added_tokens_decoder":{"1":{"content":"</s>","special":true},
    "12":{"content":"<extra_id_0>","lstrip":true,"rstrip":true,"special":true}}}
    """#
  private static let nllb = #"""
    {"src_lang":"fra_Latn","legacy_behaviour":false,"bos_token":"<s>","eos_token":"</s>"}
    """#
  private static let nllbMap =
    #"{"additional_special_tokens":["eng_Latn","fra_Latn",{"content":"<mask>"}]}"#
  private static let nllbModel = #"{"model_type":"nllb-moe","vocab_size":64,"pad_token_id":1}"#
  private static let llama = #"{"add_bos_token":true,"add_eos_token":true,"unk_token":null}"#
  private static let llamaModel =
    #"{"model_type":"mixtral","vocab_size":300,"bos_token_id":1,"eos_token_id":[2,1]}"#
}

/// Makes SentencePiece models: messages of Protocol Buffers with a dozen pieces.
enum PieceForge {
  enum Kind: UInt8 {
    case unigram = 1
    case bytePairs = 2
  }
  private enum PieceType: UInt8 {
    case normal = 1
    case unknown = 2
    case control = 3
    case userDefined = 4
    case byte = 6
  }

  /// - Parameters:
  ///   - specials: of which `<unk>` is the unknown piece.
  ///   - map: of characters, before the text is cut.
  static func model(
    _ kind: Kind, specials: [String], hasBytes: Bool = false, map: [UInt8] = []
  ) -> [UInt8] {
    let hexadecimal = Array("0123456789ABCDEF")
    var pieces = specials.map { piece($0, 0, $0 == "<unk>" ? .unknown : .control) }
    if hasBytes {
      pieces += (0..<256).map {
        piece("<0x\(hexadecimal[$0 / 16])\(hexadecimal[$0 % 16])>", 0, .byte)
      }
    }
    let texts = ["\u{2581}", "a", "b", "\u{2581}a", "ab", "aab", "\u{4e2d}"]
    pieces += texts.enumerated().map { piece($1, -Float($0) - 1, .normal) }
    pieces.append(piece("<u>", 0, .userDefined))
    let ids = [
      (40, specials.firstIndex(of: "<unk>")), (41, specials.firstIndex(of: "<s>")),
      (42, specials.firstIndex(of: "</s>")), (43, specials.firstIndex(of: "<pad>")),
    ]
    var training = number(3, Int64(kind.rawValue)) + number(35, hasBytes ? 1 : 0)
    for (field, id) in ids { training += number(field, id.map(Int64.init) ?? -1) }
    return pieces.flatMap { bytes(1, $0) } + bytes(2, training)
      + bytes(3, (map.isEmpty ? [] : bytes(2, map)) + number(3, 1) + number(4, 1) + number(5, 1))
  }

  /// A map of no characters: the bytes of its trie of 256 empty units, and no texts.
  static let emptyMap: [UInt8] = [0, 4, 0, 0] + Array(repeating: 0, count: 1025)

  private static func piece(_ text: String, _ score: Float, _ type: PieceType) -> [UInt8] {
    let bits = score.bitPattern
    return bytes(1, Array(text.utf8)) + [2 << 3 | 5]
      + (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
      + number(3, Int64(type.rawValue))
  }

  private static func bytes(_ field: Int, _ value: [UInt8]) -> [UInt8] {
    variable(UInt64(field << 3 | 2)) + variable(UInt64(value.count)) + value
  }
  private static func number(_ field: Int, _ value: Int64) -> [UInt8] {
    variable(UInt64(field << 3)) + variable(UInt64(bitPattern: value))
  }
  private static func variable(_ value: UInt64) -> [UInt8] {
    value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F) | 0x80] + variable(value >> 7)
  }
}
