import Interchange
import Models
import Training

/// What the weights of a new model are, with the deviations that transformers' models of the family
/// begin with. Theirs are normal, these uniform: as good to train from, and made several times as
/// fast.
struct InitialScale {
  enum Values: Equatable {
    case constant(Float)
    /// In [-bound, bound).
    case uniform(bound: Float)
  }

  private let configuration: ModelConfiguration

  init(_ configuration: ModelConfiguration) { self.configuration = configuration }

  func values(of tensor: CheckpointTensor) -> Values {
    switch tensor.initial {
    case .zeros: return .constant(0)
    case .ones: return .constant(gain)
    case .uniform:
      // sqrt(3) deviations either way.
      return .uniform(bound: Float(deviation(of: tensor) * 3.0.squareRoot()))
    }
  }

  /// The row of an embedding that stays zero: that of padding, where the family knows it.
  func zeroRow(of tensor: CheckpointTensor) -> Int? {
    if case .switchTransformers = configuration.family { return nil }
    let isTable = tensor.name.hasSuffix("shared.weight") || tensor.name.hasSuffix("tokens.weight")
    return isTable ? configuration.padToken : nil
  }

  private var gain: Float {
    if case .switchTransformers(let model) = configuration.family {
      return Float(model.initializerFactor)
    }
    return 1
  }

  private func deviation(of tensor: CheckpointTensor) -> Double {
    switch configuration.family {
    case .switchTransformers(let model): model.initializerFactor * deviation(of: tensor, model)
    case .nllbMoE(let model): model.initializerDeviation
    case .decoder(let model): model.initializerRange
    }
  }

  /// By what the tensor is multiplied with: attention has no other scaling. Experts differ from
  /// dense layers in the second matrix.
  private func deviation(of tensor: CheckpointTensor, _ model: SwitchConfiguration) -> Double {
    let variance: Int
    switch tensor.name.split(separator: ".").dropLast().last {
    case "shared", "classifier": variance = 1
    case "wo": variance = tensor.isExpert ? model.width : model.hidden
    case "q": variance = model.width * model.headWidth
    case "o": variance = model.heads * model.headWidth
    case "wi", "k", "v", "relative_attention_bias": variance = model.width
    default: preconditionFailure("no scale for \(tensor.name)")
    }
    return 1 / Double(variance).squareRoot()
  }
}
