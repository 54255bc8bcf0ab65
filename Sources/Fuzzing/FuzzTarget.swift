/// What is fuzzed: the readers of files that others wrote. One input is bytes; what becomes of them
/// is an error of the reader's own or a value that can be used. Anything else ends the process.
package enum FuzzTarget: String, CaseIterable, Sendable {
  /// `ConfigInput`
  case config
  /// `ManifestInput`
  case manifest
  /// `SafetensorsInput`
  case safetensors
  /// `PyTorchInput`
  case pytorch
  /// `HFConfigInput`
  case hfconfig
  /// `TokenizerInput`
  case tokenizer
  /// `CorpusInput`
  case corpus

  package func run(_ bytes: [UInt8]) {
    switch self {
    case .config: ConfigInput.run(bytes)
    case .manifest: ManifestInput.run(bytes)
    case .safetensors: SafetensorsInput.run(bytes)
    case .pytorch: PyTorchInput.run(bytes)
    case .hfconfig: HFConfigInput.run(bytes)
    case .tokenizer: TokenizerInput.run(bytes)
    case .corpus: CorpusInput.run(bytes)
    }
  }

  /// Inputs to begin with, which reach all that the target has: by name.
  package var seeds: [(name: String, bytes: [UInt8])] {
    switch self {
    case .config: ConfigInput.seeds
    case .manifest: ManifestInput.seeds
    case .safetensors: SafetensorsInput.seeds
    case .pytorch: PyTorchInput.seeds
    case .hfconfig: HFConfigInput.seeds
    case .tokenizer: TokenizerInput.seeds
    case .corpus: CorpusInput.seeds
    }
  }
}
