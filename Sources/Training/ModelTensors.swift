import Interchange
import Models
import Storage

/// What a parameter has in a file: itself, and with `--optimizer` its two moments.
enum ParameterState: CaseIterable, Sendable {
  case weights, firstMoment, secondMoment

  /// What follows the name of the parameter.
  var suffix: String {
    switch self {
    case .weights: ""
    case .firstMoment: ".exp_avg"
    case .secondMoment: ".exp_avg_sq"
    }
  }

  /// What the names of the files start with.
  var stem: String { self == .weights ? "model" : "optimizer" }

  var planes: PlaneSet {
    switch self {
    case .weights: [.hi, .lo]
    case .firstMoment: .m
    case .secondMoment: .v
    }
  }
}

/// A tensor of a file that is some rows of a dense tensor of the model.
struct DenseTensor: Sendable {
  let name: String
  let slot: TensorSlot
  let rows: Range<Int>
  /// Whether the file has it the other way round.
  let isTransposed: Bool

  /// In the vector of dense parameters.
  var range: Range<Int> {
    slot.offset + rows.lowerBound * slot.columns..<slot.offset + rows.upperBound * slot.columns
  }
  var shape: [Int] {
    if isTransposed { return [slot.columns, rows.count] }
    return slot.rows == 1 ? [slot.columns] : [rows.count, slot.columns]
  }
}

/// The two tensors of an expert: `fc1` [hidden, width] and `fc2` [width, hidden].
struct ExpertTensors: Sendable {
  /// Counts the layers with experts in forward order.
  let layer: Int
  let expert: Int
  let first: String
  let second: String
}

/// All tensors of a model under the names that Hugging Face's NLLB-MoE gives them, each [out, in]:
/// stacked projections are taken apart, slices of experts put together, and what is kept
/// transposed is turned. The output matrix is the embedding and stands there once; positions are a
/// formula.
struct ModelTensors: Sendable {
  enum Part: Sendable {
    case dense(DenseTensor)
    case expert(ExpertTensors)
  }

  /// In the order of the files.
  let parts: [Part]
  private let shape: ZcodeShape

  init(_ description: ZcodeDescription) {
    shape = description.shape
    var mixtures: [String: Int] = [:]
    for layer in description.encoder + description.decoder {
      if case .mixture(let number, let gate) = layer.feedForward { mixtures[gate.name] = number }
    }
    var parts: [Part] = []
    for slot in description.layout.slots {
      parts += Self.pieces(slot).map { .dense($0) }
      guard let mixture = mixtures[slot.name] else { continue }
      let prefix = slot.name.dropLast("router.classifier.weight".count)
      parts += (0..<description.shape.experts).map {
        let name = "\(prefix)experts.expert_\($0)"
        return .expert(
          ExpertTensors(
            layer: mixture, expert: $0, first: "\(name).fc1.weight", second: "\(name).fc2.weight"))
      }
    }
    self.parts = parts
  }

  /// The tensors of one state, with its suffix.
  func tensors(_ state: ParameterState) -> [SafetensorsTensor] {
    parts.flatMap { part -> [SafetensorsTensor] in
      switch part {
      case .dense(let tensor): [Self.tensor(tensor.name, state, tensor.shape)]
      case .expert(let tensors):
        [
          Self.tensor(tensors.first, state, [shape.hidden, shape.width]),
          Self.tensor(tensors.second, state, [shape.width, shape.hidden]),
        ]
      }
    }
  }

  private static func tensor(
    _ name: String, _ state: ParameterState, _ shape: [Int]
  ) -> SafetensorsTensor {
    SafetensorsTensor(name: name + state.suffix, type: .f32, shape: shape)
  }

  /// What becomes of a dense tensor: `qkv_proj` three tensors, `kv_proj` two, others one.
  private static func pieces(_ slot: TensorSlot) -> [DenseTensor] {
    for stack in ["qkv", "kv"] {
      let suffix = ".\(stack)_proj.weight"
      guard slot.name.hasSuffix(suffix) else { continue }
      let (prefix, rows) = (slot.name.dropLast(suffix.count), slot.rows / stack.count)
      return stack.enumerated().map { index, letter in
        DenseTensor(
          name: "\(prefix).\(letter)_proj.weight", slot: slot,
          rows: index * rows..<(index + 1) * rows, isTransposed: false)
      }
    }
    let isTransposed = slot.name.hasSuffix(".T")
    return [
      DenseTensor(
        name: isTransposed ? String(slot.name.dropLast(2)) : slot.name, slot: slot,
        rows: 0..<slot.rows, isTransposed: isTransposed)
    ]
  }
}
