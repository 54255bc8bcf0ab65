import Base
package import Training

/// Which experts a pruned model keeps, layer by layer.
package struct ExpertSelection: Sendable, Equatable {
  /// By what experts are ranked.
  package enum Criterion: Sendable, Equatable {
    /// Tokens of held-out text that chose them (Kim et al., "Scalable and efficient MoE training for
    /// multitask multilingual models", 2021).
    case utilisation
    /// Nothing: the baseline.
    case random(seed: UInt64)
  }

  /// How many are kept.
  package enum Amount: Sendable, Equatable {
    /// Of every layer.
    case each(Int)
    /// This share of all experts that there ever were, rounded up in each layer.
    case share(Double)
    /// The same, so many times as many of an encoder's layer as of a decoder's (Koishekenov, Berard and
    /// Nikoulina, "Memory-efficient NLLB-200", 2023).
    case balanced(share: Double, encoderToDecoder: Double)
  }

  /// Ascending, by layer with experts.
  package let kept: [[Int]]

  /// - Parameters:
  ///   - usage: of the held-out text, already limited to what counts; chance needs no tokens.
  ///   - least: experts that a token chooses.
  package init(
    _ usage: HeldOutUsage, _ amount: Amount, by criterion: Criterion, least: Int
  ) {
    kept = usage.layers.map { layer in
      let count = Self.count(amount, layer, usage.layers, layer.total.count)
      let ranked = Self.ranked(layer.experts, layer, criterion)
      return ranked.prefix(min(layer.experts.count, max(least, count))).sorted()
    }
  }

  private static func count(
    _ amount: Amount, _ layer: HeldOutUsage.Layer, _ layers: [HeldOutUsage.Layer], _ experts: Int
  ) -> Int {
    switch amount {
    case .each(let count): return count
    case .share(let share): return rounded(share, of: experts)
    case .balanced(let share, let ratio):
      // encoder * e + decoder * d = share * (e + d) layers' worth, encoder = ratio * decoder. What one
      // side has no experts for is the other's.
      let encoders = Double(layers.count(where: \.isEncoder))
      let decoders = Double(layers.count) - encoders
      let all = share * (encoders + decoders)
      var decoder = all / (ratio * encoders + decoders)
      var encoder = ratio * decoder
      if encoder > 1 { (encoder, decoder) = (1, decoders > 0 ? (all - encoders) / decoders : 0) }
      if decoder > 1 { (encoder, decoder) = (encoders > 0 ? (all - decoders) / encoders : 0, 1) }
      return rounded(layer.isEncoder ? encoder : decoder, of: experts)
    }
  }

  /// Upwards, but for what is only a product's last bit above a whole number.
  private static func rounded(_ share: Double, of experts: Int) -> Int {
    Int((share * Double(experts) - 1e-9).rounded(.up))
  }

  /// The best first, the lower number among equals.
  private static func ranked(
    _ there: [Int], _ layer: HeldOutUsage.Layer, _ criterion: Criterion
  ) -> [Int] {
    switch criterion {
    case .utilisation:
      let tokens = layer.total
      return there.sorted { (-tokens[$0], $0) < (-tokens[$1], $1) }
    case .random(let seed):
      let stream = Philox(seed: seed, purpose: .pruning)
      return there.map { (stream.words(UInt32(layer.layer), UInt32($0), 0).x, $0) }
        .sorted { $0 < $1 }.map { $0.1 }
    }
  }
}

extension HeldOutUsage {
  /// Counting only what touches one of these languages: an encoder's tokens in it, and a decoder's.
  package func limited(to languages: Set<String>) -> HeldOutUsage {
    var limited = self
    for index in layers.indices {
      let isEncoder = layers[index].isEncoder
      for (row, task) in tasks.enumerated() {
        let language = isEncoder ? task.source : task.target
        if language.map({ !languages.contains($0) }) ?? true {
          limited.layers[index].tokens[row] = layers[index].tokens[row].map { _ in 0 }
        }
      }
    }
    return limited
  }
}
