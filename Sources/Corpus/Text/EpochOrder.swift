import Base

/// The order of `count` examples in an epoch: every permutation is as likely as any other, and the
/// numbers of (seed, epoch) alone decide which it is.
struct EpochOrder: Sendable {
  let count: Int
  private let stream: Philox

  init(seed: UInt64, count: Int) {
    precondition(count <= UInt32.max, "examples are counted in 32 bits")
    self.count = count
    stream = Philox(seed: seed, purpose: .epochOrder)
  }

  /// All examples, once each (Durstenfeld's shuffle). Four bytes an example.
  func order(epoch: Int) -> [UInt32] {
    precondition(0 <= epoch && epoch <= UInt32.max, "an epoch fits 32 bits")
    var order = (0..<UInt32(count)).map { $0 }
    for last in order.indices.dropFirst().reversed() {
      order.swapAt(last, stream.below(last + 1, UInt32(epoch), UInt32(last), 0))
    }
    return order
  }
}
