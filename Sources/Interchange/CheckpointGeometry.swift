/// What the names and shapes of a checkpoint's tensors say of the model, so that a `config.json`
/// that says something else is found before anything is computed with it.
package struct CheckpointGeometry: Hashable, Sendable {
  package struct Stack: Hashable, Sendable {
    /// `encoder`, `decoder`, or `` for the only one.
    package let name: String
    /// The highest number of a layer and one.
    package var layers = 0
    /// Layers with a router or experts, in order.
    package var sparseLayers: [Int] = []
    /// The most experts of a layer: the highest number and one.
    package var experts = 0
  }
  /// A number that tensors have in common, by the key of `config.json` or, as a product, two.
  package struct Size: Hashable, Sendable {
    package let key: String
    package let value: Int
    /// The first tensor that has it.
    package let tensor: String
  }
  /// A contradiction, of tensors with each other or with `config.json`.
  package struct Difference: Hashable, Sendable, CustomStringConvertible {
    package let key: String
    package let configured: String
    package let found: String

    package var description: String { "`\(key)` is \(configured), the tensors say \(found)" }
  }

  package private(set) var stacks: [Stack] = []
  package private(set) var sizes: [Size] = []
  /// Tensors that contradict others: layers or experts left out, two values of one size.
  package private(set) var contradictions: [Difference] = []

  /// - Parameter tensors: names, with or without the prefix `model.`, and shapes.
  package init(
    _ tensors: [(name: String, shape: [Int])], _ type: ModelConfiguration.ModelType
  ) {
    let grammar = TensorGrammar(type)
    var found = grammar.stacks.map { Layers(name: $0) }
    var sizes: [String: Size] = [:]
    for (name, shape) in tensors.sorted(by: { $0.name < $1.name }) {
      let parsed = grammar.parse(name)
      if let number = parsed.stack { found[number].add(parsed) }
      guard let keys = grammar.sizes(parsed), keys.count == shape.count else { continue }
      for (key, value) in zip(keys, shape) where !key.isEmpty {
        let size = Size(key: key, value: value, tensor: name)
        if let first = sizes[key], first.value != value {
          contradictions.append(
            Difference(
              key: key, configured: "\(first.value) in \(printable(first.tensor))",
              found: "\(value) in \(printable(name))"))
        } else if sizes[key] == nil {
          sizes[key] = size
        }
      }
    }
    stacks = found.map(\.stack)
    self.sizes = sizes.values.sorted { $0.key < $1.key }
    contradictions = Array(Set(contradictions)).sorted { "\($0)" < "\($1)" } + found.flatMap(\.gaps)
  }

  /// What `configuration` says otherwise; none when a model of it is what the tensors are of.
  package func differences(from configuration: ModelConfiguration) -> [Difference] {
    let expected = ExpectedGeometry(configuration)
    var differences = contradictions
    for (stack, wanted) in zip(stacks, expected.stacks) {
      if stack.layers != wanted.layers {
        differences.append(
          Difference(
            key: wanted.layersKey, configured: "\(wanted.layers)", found: "\(stack.layers)"))
      }
      if stack.sparseLayers != wanted.sparseLayers.filter({ $0 < stack.layers }) {
        differences.append(
          Difference(
            key: wanted.sparseKey, configured: "experts in \(Self.list(wanted.sparseLayers))",
            found: Self.list(stack.sparseLayers)))
      }
      if stack.experts != 0, stack.experts != expected.experts {
        differences.append(
          Difference(
            key: expected.expertsKey, configured: "\(expected.experts)",
            found: "\(stack.experts) in \(stack.name.isEmpty ? "the layers" : "the \(stack.name)")")
        )
      }
    }
    for size in sizes {
      guard let wanted = expected.sizes[size.key], wanted != size.value else { continue }
      differences.append(
        Difference(
          key: size.key, configured: "\(wanted)",
          found: "\(size.value) (\(printable(size.tensor)))"))
    }
    return differences
  }

  /// `layers 1, 3, 5`, short where there are many.
  private static func list(_ layers: [Int]) -> String {
    guard !layers.isEmpty else { return "no layer" }
    let text = layers.prefix(8).map(String.init).joined(separator: ", ")
    return "layers \(text)" + (layers.count > 8 ? ", … (\(layers.count))" : "")
  }

  /// What the names say of one stack.
  private struct Layers {
    let name: String
    private var layers: Set<Int> = []
    /// Numbers of experts by layer; none for a layer of which only the router is there.
    private var experts: [Int: Set<Int>] = [:]

    init(name: String) { self.name = name }

    mutating func add(_ parsed: TensorGrammar.Parsed) {
      guard let layer = parsed.layer else { return }
      layers.insert(layer)
      if parsed.isSparse { experts[layer, default: []].formUnion(parsed.expert.map { [$0] } ?? []) }
    }

    var stack: Stack {
      Stack(
        name: name, layers: (layers.max() ?? -1) + 1, sparseLayers: experts.keys.sorted(),
        experts: (experts.values.compactMap { $0.max() }.max() ?? -1) + 1)
    }

    /// Layers and experts whose numbers are left out.
    var gaps: [Difference] {
      let stack = stack
      var gaps: [Difference] = []
      let place = name.isEmpty ? "layers" : "layers of the \(name)"
      if layers.count < stack.layers {
        gaps.append(
          Difference(
            key: place, configured: "0 to \(stack.layers - 1)", found: "\(layers.count) of them"))
      }
      for (layer, numbers) in experts.sorted(by: { $0.key < $1.key })
      where numbers.count < stack.experts {
        gaps.append(
          Difference(
            key: "experts of layer \(layer)\(name.isEmpty ? "" : " of the \(name)")",
            configured: "0 to \(stack.experts - 1)", found: "\(numbers.count) of them"))
      }
      return gaps
    }
  }
}
