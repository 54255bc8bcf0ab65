/// What the `config.json` of a Hugging Face model says, for the families that are known, with the
/// defaults of transformers 4.57 and the spellings of 4 and 5.
package struct ModelConfiguration: Sendable {
  /// The values of `model_type` that are known; two are spellings of one.
  package enum ModelType: String, CaseIterable, Sendable {
    case switchTransformers = "switch_transformers"
    case nllbMoE = "nllb-moe"
    case nllbMoEOld = "nllb_moe"
    case mixtral
    case olmoe
    case qwen3MoE = "qwen3_moe"
  }
  package enum Family: Sendable {
    case switchTransformers(SwitchConfiguration)
    case nllbMoE(NLLBMoEConfiguration)
    /// Mixtral, OLMoE, Qwen3-MoE.
    case decoder(DecoderConfiguration)
  }
  package enum Activation: String, CaseIterable, Sendable {
    case relu, silu, gelu
    /// Another name of it.
    case geluPython = "gelu_python"
    /// By tanh, under three names.
    case geluNew = "gelu_new"
    case geluTanh = "gelu_pytorch_tanh"
    case geluFast = "gelu_fast"
    /// silu under its older name.
    case swish
  }

  package let type: ModelType
  package let family: Family
  package let architectures: [String]
  package let vocabularySize: Int
  /// `dtype`, or before transformers 4.56 `torch_dtype`: of the weights in the files.
  package let weightType: ElementType?
  /// Whether the output matrix is the embedding.
  package let tiesWordEmbeddings: Bool
  package let padToken: Int?
  package let beginTokens: [Int]
  package let endTokens: [Int]
  package let decoderStartToken: Int?
  /// Keys that have no place above, as they were read.
  package let rest: [String: JSONValue]

  /// - Throws: `InterchangeError` for an unknown family, and for values that cannot be.
  package init(_ path: String) throws(InterchangeError) {
    try self.init(try ConfigurationReader(path))
  }

  /// - Parameters:
  ///   - members: of a `config.json`.
  ///   - path: of that file, for errors.
  package init(_ members: [String: JSONValue], path: String) throws(InterchangeError) {
    try self.init(ConfigurationReader(members, path: path))
  }

  private init(_ file: ConfigurationReader) throws(InterchangeError) {
    var reader = file
    guard let text = try reader.string("model_type") else {
      throw reader.malformed("model_type", "is missing; it says what model this is")
    }
    guard let type = ModelType(rawValue: text) else {
      let known = ModelType.allCases.map(\.rawValue).joined(separator: ", ")
      throw reader.unsupported("model_type", "is \"\(printable(text))\"", "known are \(known)")
    }
    guard try reader.object("quantization_config") == nil else {
      throw reader.unsupported(
        "quantization_config", "says that the weights are quantised",
        "take the model in float32, float16 or bfloat16")
    }
    let standards = Standards(type)
    let vocabulary = try reader.integer(
      "vocab_size", default: standards.vocabulary, in: 1...Limits.vocabulary)
    let family: Family
    switch type {
    case .switchTransformers: family = .switchTransformers(try SwitchConfiguration(&reader))
    case .nllbMoE, .nllbMoEOld: family = .nllbMoE(try NLLBMoEConfiguration(&reader))
    case .mixtral: family = .decoder(try DecoderConfiguration(&reader, .mixtral))
    case .olmoe: family = .decoder(try DecoderConfiguration(&reader, .olmoe))
    case .qwen3MoE: family = .decoder(try DecoderConfiguration(&reader, .qwen3MoE))
    }
    let architectures = try reader.strings("architectures")
    let old = try reader.type("torch_dtype")
    let weightType = try reader.type("dtype") ?? old
    let ties = try reader.flag("tie_word_embeddings", default: standards.tiesWordEmbeddings)
    let pad = try reader.tokens("pad_token_id", default: standards.pad, vocabulary: vocabulary)
    let begin = try reader.tokens("bos_token_id", default: standards.begin, vocabulary: vocabulary)
    let end = try reader.tokens("eos_token_id", default: standards.end, vocabulary: vocabulary)
    let start = try reader.tokens(
      "decoder_start_token_id", default: standards.decoderStart, vocabulary: vocabulary)

    self.type = type
    self.family = family
    self.architectures = architectures
    vocabularySize = vocabulary
    self.weightType = weightType
    tiesWordEmbeddings = ties
    padToken = pad.first
    beginTokens = begin
    endTokens = end
    decoderStartToken = start.first
    rest = reader.rest
  }

  /// What transformers takes for keys that all families have.
  private struct Standards {
    let vocabulary: Int
    var tiesWordEmbeddings = false
    var pad: Int?
    var begin: Int?
    var end: Int?
    var decoderStart: Int?

    init(_ type: ModelType) {
      switch type {
      case .switchTransformers:
        vocabulary = 32128
        tiesWordEmbeddings = true
        (pad, end) = (0, 1)
      case .nllbMoE, .nllbMoEOld:
        vocabulary = 128112
        tiesWordEmbeddings = true
        (pad, begin, end, decoderStart) = (1, 0, 2, 2)
      case .mixtral:
        vocabulary = 32000
        (begin, end) = (1, 2)
      case .olmoe:
        vocabulary = 50304
        (pad, end) = (1, 50279)
      case .qwen3MoE: vocabulary = 151936
      }
    }
  }

  /// More than any model has; what is above cannot be meant.
  enum Limits {
    static let vocabulary = 1 << 24
    static let width = 1 << 20
    static let heads = 1 << 14
    static let layers = 1 << 12
    static let experts = 1 << 20
    static let positions = 1 << 31
  }
}
