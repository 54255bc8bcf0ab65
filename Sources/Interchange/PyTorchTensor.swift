/// One tensor of a PyTorch checkpoint: a view of a storage, which other tensors may view too.
package struct PyTorchTensor: Hashable, Sendable {
  package let name: String
  package let type: ElementType
  package let shape: [Int]
  /// Elements of the storage from one index of a dimension to the next.
  package let strides: [Int]
  package let storageKey: String
  /// Element of the storage at which it starts.
  package let storageOffset: Int

  /// Bytes of the storage from its start to the end of the last element, or to where the first
  /// would be; nil when that passes `Int`.
  var reach: Int? {
    guard type.byteCount(shape: shape) != nil else { return nil }
    var end = storageOffset
    if !shape.contains(0) {
      var last = 1  // elements from the first to the last, both counted
      for (dimension, stride) in zip(shape, strides) {
        let (product, isTooLarge) = (dimension - 1).multipliedReportingOverflow(by: stride)
        let (sum, isTooLargeNow) = last.addingReportingOverflow(product)
        guard !isTooLarge, !isTooLargeNow else { return nil }
        last = sum
      }
      let (sum, isTooLarge) = end.addingReportingOverflow(last)
      guard !isTooLarge else { return nil }
      end = sum
    }
    let (bytes, isTooLarge) = end.multipliedReportingOverflow(by: type.byteCount)
    return isTooLarge ? nil : bytes
  }
}

/// What the tensors of a checkpoint view: an entry `data/KEY` of its archive.
struct PyTorchStorage: Hashable, Sendable {
  let key: String
  /// nil: bytes, whose type the tensor says.
  let type: ElementType?
  let byteCount: Int
}
