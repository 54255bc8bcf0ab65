/// A way of training that is held against full precision.
package struct Variant: Hashable, Sendable {
  package let name: String
  /// What it changes, as `key.path=value`.
  package let overrides: [String]

  package init(_ name: String, _ overrides: [String]) {
    (self.name, self.overrides) = (name, overrides)
  }

  /// What the others are compared with.
  package static let standard = Variant("fp32", [])

  package static let all = [
    standard,
    Variant("states-bf16", ["training.states=bf16"]),
    Variant("states-int8", ["training.states=int8"]),
    Variant("master-bf16", ["training.master=bf16"]),
    Variant("states-bf16-master-bf16", ["training.states=bf16", "training.master=bf16"]),
    Variant("states-int8-master-bf16", ["training.states=int8", "training.master=bf16"]),
    Variant("boundaries-bf16", ["training.boundaries=bf16"]),
  ]
}
