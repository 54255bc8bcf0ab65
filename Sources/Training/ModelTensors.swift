import Base
import Interchange
import Layers
import Models
import Storage

/// What a parameter has in a file: itself, and with `--optimizer` its two moments.
package enum ParameterState: CaseIterable, Sendable {
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
  let slot: TensorSlot
  let part: TensorPart

  var name: String { part.name }
  /// Whether the file has it the other way round.
  var isTransposed: Bool { part.isTransposed }
  /// A vector is a slot of one row, and its parts are some columns of that.
  private var isVector: Bool { slot.rows == 1 && !slot.decays }
  /// Of the part, as the model has it.
  var rows: Int { isVector ? 1 : part.rows.count }
  var columns: Int { isVector ? part.rows.count : slot.columns }

  /// In the vector of dense parameters.
  var range: Range<Int> {
    let width = isVector ? 1 : slot.columns
    return slot.offset + part.rows.lowerBound * width..<slot.offset + part.rows.upperBound * width
  }
  var shape: [Int] {
    if isVector { return [columns] }
    return isTransposed ? [columns, rows] : [rows, columns]
  }
}

/// Some rows and columns of a dense tensor, as the model has it.
struct TensorArea: Equatable {
  let rows: Range<Int>
  let columns: Range<Int>
}

extension DenseTensor {
  /// The part of the tensor that lies in `range` of the vector of dense parameters: the end of a row,
  /// whole rows, the beginning of a row, as far as there are such.
  func areas(in range: Range<Int>) -> [TensorArea] {
    let own = range.clamped(to: self.range)
    guard !own.isEmpty else { return [] }
    let (first, last) = (
      own.lowerBound - self.range.lowerBound, own.upperBound - self.range.lowerBound
    )
    let (firstRow, lastRow) = (first / columns, last / columns)
    if firstRow == lastRow {
      return [TensorArea(rows: firstRow..<firstRow + 1, columns: first % columns..<last % columns)]
    }
    let whole = (first + columns - 1) / columns..<lastRow
    return [
      TensorArea(rows: firstRow..<whole.lowerBound, columns: first % columns..<columns),
      TensorArea(rows: whole, columns: 0..<columns),
      TensorArea(
        rows: lastRow..<(last + columns - 1) / columns, columns: 0..<last % columns),
    ].filter { !$0.rows.isEmpty }
  }

  /// Where the first element of an area is in the vector of dense parameters.
  func offset(of area: TensorArea) -> Int {
    range.lowerBound + area.rows.lowerBound * columns + area.columns.lowerBound
  }
}

/// The tensors of an expert: W1 and W3 [hidden, width], W2 [width, hidden], b1 [hidden], b2 [width],
/// in files with as many hidden units as the names say.
struct ExpertTensors: Sendable {
  /// Counts the layers with experts in forward order.
  let layer: Int
  let expert: Int
  let names: ExpertNames
}

/// All tensors of a model, those of the experts that are there, under the names that checkpoints of its family give them, each [out, in]:
/// stacked projections are taken apart, slices of experts put together, and what is kept
/// transposed is turned. A tied output matrix stands there once, as the embedding; positions are a
/// formula.
struct ModelTensors: Sendable {
  enum Part: Sendable {
    case dense(DenseTensor)
    case expert(ExpertTensors)
  }

  /// In the order of the files.
  let parts: [Part]
  private let experts: ExpertShape

  init(_ description: ModelDescription) {
    experts = description.experts
    // The experts of a layer come after its gate.
    var mixtures: [Int: FeedForwardDescription.Mixture] = [:]
    for layer in description.layers {
      if case .mixture(let mixture) = layer.feedForward {
        mixtures[(mixture.gate.bias ?? mixture.gate.weight).offset] = mixture
      }
    }
    var parts: [Part] = []
    for slot in description.layout.slots {
      parts += slot.parts.map { .dense(DenseTensor(slot: slot, part: $0)) }
      guard let mixture = mixtures[slot.offset] else { continue }
      parts += (mixture.kept?.experts ?? Array(mixture.names.indices)).map { index in
        .expert(
          ExpertTensors(layer: mixture.number, expert: index, names: mixture.names[index]))
      }
    }
    self.parts = parts
  }

  /// Those of the dense part, in the order of its vector.
  var dense: [DenseTensor] {
    parts.compactMap { part in
      if case .dense(let tensor) = part { return tensor }
      return nil
    }
  }

  /// What each expert's tensors are called, by its first block.
  var expertNames: [BlockID: ExpertNames] {
    parts.reduce(into: [:]) { names, part in
      guard case .expert(let expert) = part else { return }
      names[.expert(layer: expert.layer, expert.expert)] = expert.names
    }
  }

  /// The tensors of one state, with its suffix.
  func tensors(_ state: ParameterState, _ type: ElementType = .f32) -> [SafetensorsTensor] {
    parts.flatMap { part -> [(name: String, shape: [Int])] in
      switch part {
      case .dense(let tensor): [(tensor.name, tensor.shape)]
      case .expert(let expert): experts.shapes(expert.names)
      }
    }.map { SafetensorsTensor(name: $0.name + state.suffix, type: type, shape: $0.shape) }
  }
}

extension ExpertShape {
  /// An expert's tensors as files have them.
  func shapes(_ names: ExpertNames) -> [(name: String, shape: [Int])] {
    let hidden = names.hidden ?? hidden
    var shapes = [(names.first, [hidden, width]), (names.second, [width, hidden])]
    if let third = names.third { shapes.append((third, [hidden, width])) }
    if let bias = names.firstBias { shapes.append((bias, [hidden])) }
    if let bias = names.secondBias { shapes.append((bias, [width])) }
    return shapes
  }
}
