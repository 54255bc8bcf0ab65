import Corpus
import Foundation
import Interchange
import Models
import Storage

/// The small files of an export: what the model is, how its text becomes tokens, and what training
/// needs to go on.
struct ExportCompanions {
  private let config: RunConfig
  private let origin: Origin

  private enum Origin {
    case zcode(CorpusManifest)
    case published(PublishedModel)
  }

  init(_ config: RunConfig) throws {
    self.config = config
    if let model = try config.publishedModel() {
      origin = .published(model)
    } else {
      origin = .zcode(try ParallelCorpus.readManifest(config.data.corpus))
    }
  }

  /// Of zcode.
  var corpus: CorpusShape? {
    if case .zcode(let corpus) = origin { CorpusShape(corpus) } else { nil }
  }

  /// Names and contents.
  func files(
    _ store: Store, _ generation: Generation, _ options: ModelExport.Options
  ) throws -> [(name: String, bytes: [UInt8])] {
    let hasOptimizer = options.hasOptimizer
    switch origin {
    case .zcode(let corpus):
      let state = try ExportedState(
        store, generation, corpus: corpus.checksum, hasOptimizer: hasOptimizer)
      return [
        (ExportedConfig.name, try ExportedConfig(config, corpus, options.type).encoded()),
        ("config.yaml", Array(config.yaml().utf8)),
        (ExportedState.name, try state.encoded()),
        ("tokenizer.model", try ParallelCorpus.tokenizerModel(config.data.corpus)),
      ]
    case .published(let model):
      var files = try Self.small(model, options.type)
      // Weights alone are a model like any other.
      guard hasOptimizer else { return files }
      let state = try ExportedState(store, generation, corpus: "", hasOptimizer: true)
      files.append(("config.yaml", Array(config.unresolved().yaml().utf8)))
      files.append((ExportedState.name, try state.encoded()))
      return files
    }
  }

  /// The files that came with a published model; `config.json` says what the weights are now.
  private static func small(
    _ model: PublishedModel, _ type: ElementType
  ) throws -> [(name: String, bytes: [UInt8])] {
    try PublishedModel.smallContents(model.folder, followsLinks: true).map { name, bytes in
      guard name == PublishedModel.configName else { return (name, bytes) }
      let text = String(decoding: bytes, as: UTF8.self)
      return (name, Array(PublishedModel.retyped(text, type).utf8))
    }
  }
}

extension PublishedModel {
  /// More than any of them has; a tokenizer of 256 k tokens takes 17 MB.
  private static let smallBytesMax = 64 << 20

  /// The small files that are there.
  /// - Throws: `InterchangeError` for links, unless they are followed, for what is no regular file, and
  ///   for files that are larger than any such file.
  static func smallContents(
    _ folder: String, followsLinks: Bool
  ) throws(InterchangeError) -> [(name: String, bytes: [UInt8])] {
    var files: [(name: String, bytes: [UInt8])] = []
    for name in smallFiles {
      let bytes = try smallFile(
        "\(folder)/\(name)", byteCountMax: smallBytesMax, followsLinks: followsLinks)
      if let bytes { files.append((name, bytes)) }
    }
    return files
  }

  /// The text of a `config.json` with another type of weights. Everything else stays to the letter.
  static func retyped(_ text: String, _ type: ElementType) -> String {
    text.replacing(/("(?:torch_)?dtype"\s*:\s*)(?:"[^"]*"|null)/) { "\($0.1)\"\(type.torchName)\"" }
  }
}
