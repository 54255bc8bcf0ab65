import Base
import BenchHarness
import Kernels
import Optimizers

/// A form of AdamW: how weights and moments are kept.
struct AdamVariant: Sendable {
  let name: String
  /// Read and written of weights and moments, and read of the gradient.
  let bytesPerElement: Double
  /// Whether it computes the weights of the fp32 form, bit for bit.
  let isExact: Bool
  let make: @Sendable (_ count: Int, _ workers: Workers) -> any AdamState

  /// Another form is another line.
  static let all = [
    AdamVariant(
      name: "fp32", bytesPerElement: 28, isExact: true, make: { FloatAdam(count: $0, workers: $1) }),
    AdamVariant(
      name: "hi/lo", bytesPerElement: 28, isExact: true,
      make: { HalvesAdam(count: $0, workers: $1) }),
    AdamVariant(
      name: "hi/lo, AVX2", bytesPerElement: 28, isExact: true,
      make: { HalvesAdam(count: $0, isNarrow: true, workers: $1) }),
    encoded("bf16 moments", .bf16, .fp32), encoded("int8 moments", .int8, .fp32),
    encoded("bf16 weights, bf16 moments", .bf16, .bf16),
    encoded("bf16 weights, int8 moments", .int8, .bf16),
  ]

  private static func encoded(
    _ name: String, _ states: StatePrecision, _ master: MasterPrecision
  ) -> AdamVariant {
    let moments = 2 * Double(states.byteCount(1 << 20)) / 0x1p20
    let weights = master == .fp32 ? 4.0 : 2
    return AdamVariant(
      name: name, bytesPerElement: 2 * (weights + moments) + 4, isExact: false,
      make: { EncodedAdam(count: $0, states, master, workers: $1) })
  }
}

/// Weights and moments of one tensor.
protocol AdamState {
  func update(step: Int, _ gradient: Vector<Float>, on workers: Workers)
  /// Of the weights.
  var checksum: Checksum { get }
}

extension AdamState {
  /// What all of them are updated with.
  func numbers(_ step: Int) -> AdamWStep { AdamW().step(step, learningRate: 1e-3) }
}

/// All in fp32: 16 bytes read and 12 written.
struct FloatAdam: AdamState {
  private let weights: Vector<Float>
  private let m: Vector<Float>
  private let v: Vector<Float>

  init(count: Int, workers: Workers) {
    (weights, m, v) = (Vector(count: count), Vector(count: count), Vector(count: count))
    fill(weights, seed: 2, scale: 0.05, on: workers)
    fill(m, seed: 3, scale: 0, on: workers)
    fill(v, seed: 4, scale: 0, on: workers)
  }

  func update(step: Int, _ gradient: Vector<Float>, on workers: Workers) {
    var weights = weights.mutableSpan
    var m = m.mutableSpan
    var v = v.mutableSpan
    numbers(step).update(
      weights: &weights, m: &m, v: &v, gradient: gradient.span, on: workers)
  }

  var checksum: Checksum {
    var checksum = Checksum()
    checksum.add(weights.span)
    return checksum
  }
}

/// Weights in two halves, moments in fp32: as many bytes.
struct HalvesAdam: AdamState {
  /// Without AVX-512 where there is some.
  private let isNarrow: Bool
  private let hi: Vector<UInt16>
  private let lo: Vector<UInt16>
  private let m: Vector<Float>
  private let v: Vector<Float>

  init(count: Int, isNarrow: Bool = false, workers: Workers) {
    self.isNarrow = isNarrow
    (hi, lo) = (Vector(count: count), Vector(count: count))
    (m, v) = (Vector(count: count), Vector(count: count))
    fill(m, seed: 2, scale: 0.05, on: workers)
    split(m, hi, lo)
    fill(m, seed: 3, scale: 0, on: workers)
    fill(v, seed: 4, scale: 0, on: workers)
  }

  func update(step: Int, _ gradient: Vector<Float>, on workers: Workers) {
    var hi = hi.mutableSpan
    var lo = lo.mutableSpan
    var m = m.mutableSpan
    var v = v.mutableSpan
    guard isNarrow else {
      return numbers(step).update(
        hi: &hi, lo: &lo, m: &m, v: &v, gradient: gradient.span, on: workers)
    }
    let fences = (Fence(&hi), Fence(&lo), Fence(&m), Fence(&v), Fence(gradient.span))
    let numbers = numbers(step)
    // In the same pieces.
    workers.forEachChunk(of: gradient.count, size: 8192) { range in
      var hi = fences.0.mutable(range)
      var lo = fences.1.mutable(range)
      var m = fences.2.mutable(range)
      var v = fences.3.mutable(range)
      PlainLoops().update(
        numbers, hi: &hi, lo: &lo, m: &m, v: &v, fences.4.span(range))
    }
  }

  var checksum: Checksum {
    var checksum = Checksum()
    let hi = hi.span
    let lo = lo.span
    for i in hi.indices { checksum.add(UInt64(joinMaster(hi: hi[i], lo: lo[i]).bitPattern)) }
    return checksum
  }
}

/// Planes as a store of less precision has them.
struct EncodedAdam: AdamState {
  private let states: StatePrecision
  private let hi: Vector<UInt16>
  /// One element where there are none: a vector is not empty.
  private let lo: Vector<UInt16>
  private let hasLo: Bool
  private let m: Vector<UInt8>
  private let v: Vector<UInt8>

  init(count: Int, _ states: StatePrecision, _ master: MasterPrecision, workers: Workers) {
    self.states = states
    hasLo = master == .fp32
    (hi, lo) = (Vector(count: count), Vector(count: hasLo ? count : 1))
    (m, v) = (Vector(count: states.byteCount(count)), Vector(count: states.byteCount(count)))
    let weights = Vector<Float>(count: count)
    fill(weights, seed: 2, scale: 0.05, on: workers)
    let source = weights.span
    var hi = hi.mutableSpan
    var lo = lo.mutableSpan
    for i in source.indices {
      let halves = splitMaster(source[i])
      hi[i] = halves.hi
      if hasLo { lo[i] = halves.lo }
    }
  }

  func update(step: Int, _ gradient: Vector<Float>, on workers: Workers) {
    let numbers = numbers(step)
    let update = BlockStep(
      matrices: numbers, vectors: numbers, matrixParameters: gradient.count, states: states,
      seed: 1, step: step, block: .expert(layer: 0, 0))
    var hi = hi.mutableSpan
    var lo = hasLo ? lo.mutableSpan : MutableSpan()
    var m = m.mutableSpan
    var v = v.mutableSpan
    update.update(hi: &hi, lo: &lo, m: &m, v: &v, gradient: gradient.span, on: workers)
  }

  var checksum: Checksum {
    var checksum = Checksum()
    let hi = hi.span
    for i in hi.indices { checksum.add(UInt64(hi[i])) }
    return checksum
  }
}

private func split(_ weights: Vector<Float>, _ hi: Vector<UInt16>, _ lo: Vector<UInt16>) {
  let weights = weights.span
  var hi = hi.mutableSpan
  var lo = lo.mutableSpan
  for i in weights.indices { (hi[i], lo[i]) = splitMaster(weights[i]) }
}

/// Numbers evenly in -scale ..< scale, a function of seed and index.
func fill(_ target: Vector<Float>, seed: UInt32, scale: Float, on workers: Workers) {
  var span = target.mutableSpan
  let fence = Fence(&span)
  workers.forEachChunk(of: target.count, size: 1 << 18) { range in
    var part = fence.mutable(range)
    for i in part.indices {
      // Wang's hash: enough to be no pattern.
      var x = UInt32(truncatingIfNeeded: range.lowerBound &+ i) ^ seed &* 0x9E37_79B9
      x = (x ^ 61) ^ (x &>> 16)
      x = x &* 9
      x = (x ^ (x &>> 4)) &* 0x27d4_eb2d
      x ^= x &>> 15
      part[i] = (Float(x &>> 8) * 0x1p-23 - 1) * scale
    }
  }
}
