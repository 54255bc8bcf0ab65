/// e to the power of each lane: within 2 units in the last place for x in -87.3...88, exactly 0
/// below, NaN for NaN. Lanes above 88 are outside the contract; softmax never has them.
///
/// Range reduction x = n ln 2 + r, |r| <= ln 2 / 2, with ln 2 in two parts, then the polynomial of
/// Cephes' `expf` (Moshier). Rounding to n goes through 1.5 * 2^23, whose low bits are then n.
@inlinable
package func exponential(_ x: SIMD8<Float>) -> SIMD8<Float> {
  let isTiny = x .< SIMD8(repeating: -0x1.5d589ep6)
  let safe = x.replacing(with: 0, where: isTiny)
  let magic = SIMD8<Float>(repeating: 0x1.8p23)
  let shifted = magic.addingProduct(safe, 0x1.715476p0)
  let n = shifted - magic
  let r = safe.addingProduct(n, -0.693359375).addingProduct(n, 2.12194440e-4)
  var p = SIMD8<Float>(repeating: 1.9875691500e-4)
  p = SIMD8(repeating: 1.3981999507e-3).addingProduct(p, r)
  p = SIMD8(repeating: 8.3334519073e-3).addingProduct(p, r)
  p = SIMD8(repeating: 4.1665795894e-2).addingProduct(p, r)
  p = SIMD8(repeating: 1.6666665459e-1).addingProduct(p, r)
  p = SIMD8(repeating: 5.0000001201e-1).addingProduct(p, r)
  let y = (r + 1).addingProduct(p, r * r)
  let exponent = unsafe unsafeBitCast(shifted, to: SIMD8<UInt32>.self) &<< 23
  let bits = unsafe unsafeBitCast(y, to: SIMD8<UInt32>.self) &+ exponent
  // The low bits of 1.5 * 2^23 vanish in the shift, so `exponent` is n << 23, n negative or not.
  let scaled = unsafe unsafeBitCast(bits, to: SIMD8<Float>.self)
  return scaled.replacing(with: 0, where: isTiny)
    .replacing(with: x, where: x .!= x)
}
