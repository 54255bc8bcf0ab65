/// One tensor, described: row-major, little-endian.
package struct SafetensorsTensor: Hashable, Sendable {
  package let name: String
  package let type: ElementType
  package let shape: [Int]

  package init(name: String, type: ElementType, shape: [Int]) {
    self.name = name
    self.type = type
    self.shape = shape
  }
}
