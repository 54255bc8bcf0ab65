import Base
import Corpus
import Foundation
import Interchange
import Models
import Storage

/// `training_state.json` of an export: what training needs beside the tensors.
struct ExportedState: Codable {
  static let name = "training_state.json"
  static let currentVersion = 1

  let formatVersion: Int
  /// Of the run, as its store has it: a digest of everything that decides what is computed.
  let identity: String
  let corpusChecksum: String
  let step: Int
  /// Whether the moments are there, so that training can go on.
  let hasOptimizer: Bool
  let progress: RunProgress
  /// Of every expert's slice that was ever updated: layer, expert, slice, last step, updates,
  /// tokens.
  let blocks: [[Int]]

  init(_ store: Store, _ generation: Generation, corpus: String, hasOptimizer: Bool) throws {
    formatVersion = Self.currentVersion
    identity = store.description.identity
    corpusChecksum = corpus
    step = generation.step
    self.hasOptimizer = hasOptimizer
    progress = try RunProgress(payload: generation.payload)
    blocks = store.writtenBlocks.filter { $0.kind == .expert }.compactMap { block in
      store.record(of: block).map {
        let history = $0.history
        return [
          block.layer, block.index, block.slice, history.lastStep, history.updates, history.tokens,
        ]
      }
    }
  }

  /// - Throws: `ExchangeError.notAnExport`, `.otherFormat`.
  static func read(_ directory: String) throws -> ExportedState {
    let path = "\(directory)/\(name)"
    guard let data = FileManager.default.contents(atPath: path) else {
      throw ExchangeError.notAnExport(path: path, cause: "there is no such file")
    }
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    guard let version = try? decoder.decode(Version.self, from: data).formatVersion else {
      throw ExchangeError.notAnExport(path: path, cause: "not the state of an export")
    }
    guard version == currentVersion else {
      throw ExchangeError.otherFormat(path: path, found: version, supported: currentVersion)
    }
    let state: ExportedState
    do {
      state = try decoder.decode(ExportedState.self, from: data)
    } catch {
      throw ExchangeError.notAnExport(path: path, cause: "a state that does not read: \(error)")
    }
    guard state.step >= 0, state.progress.step == state.step else {
      throw ExchangeError.notAnExport(path: path, cause: "two different steps")
    }
    return state
  }

  func encoded() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(self)) + Array("\n".utf8)
  }

  /// What training remembers of the experts of a model.
  func histories(_ model: ModelDescription, path: String) throws -> [BlockID: BlockHistory] {
    var histories: [BlockID: BlockHistory] = [:]
    for numbers in blocks {
      guard numbers.count == 6, numbers.allSatisfy({ $0 >= 0 }), numbers[0] < model.mixtures,
        numbers[1] < model.experts.count, numbers[2] < model.experts.slices
      else {
        throw ExchangeError.notAnExport(
          path: path, cause: "\(numbers) is no block of the model in config.yaml")
      }
      let block = BlockID.expert(layer: numbers[0], numbers[1], slice: numbers[2])
      histories[block] = BlockHistory(
        lastStep: numbers[3], updates: numbers[4], tokens: numbers[5])
    }
    return histories
  }

  private struct Version: Decodable { let formatVersion: Int }
}

/// `config.json` of an export, with the keys of Hugging Face's NLLB-MoE where there are any.
// swift-format-ignore: AlwaysUseLowerCamelCase
struct ExportedConfig: Encodable {
  static let name = "config.json"

  let model_type = "pagoda-zcode"
  let architectures = ["PagodaZcodeForConditionalGeneration"]
  let is_encoder_decoder = true
  let dtype: String
  let d_model: Int
  let encoder_layers: Int
  let decoder_layers: Int
  let encoder_attention_heads: Int
  let decoder_attention_heads: Int
  let encoder_ffn_dim: Int
  let decoder_ffn_dim: Int
  let encoder_sparse_step: Int
  let decoder_sparse_step: Int
  let num_experts: Int
  let num_experts_per_tok: Int
  /// What gates decide by.
  let encoder_gate: String
  let decoder_gate: String
  /// Experts of each layer that are there, and in the files; none: all.
  let kept_experts: [String]
  let router_bias = false
  let router_dtype = "float32"
  let router_aux_loss_coef: Double
  let router_jitter_noise: Double
  let capacity_factor: Double
  let eval_capacity_factor: Double
  let attention_bias = false
  let ffn_bias = false
  let layer_norm_eps = 1e-5
  let activation_function = "relu"
  let scale_embedding = true
  let tie_word_embeddings = true
  let max_position_embeddings: Int
  let vocab_size: Int
  let pad_token_id = Int(SpecialTokens.pad)
  let bos_token_id = Int(SpecialTokens.start)
  let eos_token_id = Int(SpecialTokens.end)
  let unk_token_id = Int(SpecialTokens.unknown)
  let decoder_start_token_id = Int(SpecialTokens.start)
  /// The token that asks for a translation into each language.
  let lang_code_to_id: [String: Int]

  init(_ config: RunConfig, _ corpus: CorpusManifest, _ type: ElementType) {
    let model = config.model
    dtype = type.torchName
    d_model = model.d_model
    (encoder_layers, decoder_layers) = (model.encoder_layers, model.decoder_layers)
    (encoder_attention_heads, decoder_attention_heads) = (
      model.num_attention_heads, model.num_attention_heads
    )
    (encoder_ffn_dim, decoder_ffn_dim) = (model.ffn_dim, model.ffn_dim)
    (encoder_sparse_step, decoder_sparse_step) = (model.sparse_step, model.sparse_step)
    num_experts = model.num_experts
    num_experts_per_tok = model.num_experts_per_tok
    (encoder_gate, decoder_gate) = (model.encoder_gate, model.decoder_gate)
    kept_experts = model.kept_experts
    router_aux_loss_coef = model.router_aux_loss_coef
    router_jitter_noise = model.router_jitter_noise
    capacity_factor = model.capacity_factor
    eval_capacity_factor = model.eval_capacity_factor
    max_position_embeddings = config.data.max_sequence_tokens
    vocab_size = corpus.vocabularySize
    let special = SpecialTokens(languageCount: corpus.languages.count)
    lang_code_to_id = corpus.languages.indices.reduce(into: [:]) {
      $0[corpus.languages[$1].tag] = Int(special.into(LanguageIndex($1)))
    }
  }

  func encoded() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(self)) + Array("\n".utf8)
  }
}
