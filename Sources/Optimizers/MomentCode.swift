import Base
import Kernels

/// The codes of block-wise 8-bit moments, in groups of at most 256 values that share a scale: the
/// largest magnitude among them, which is exact.
///
///     first moment     m = s c |c| / 127^2     c in -127 ... 127
///     second moment    v = s (c^2 / 255^2)^2   c in 0 ... 255
///
/// An update is m / sqrt(v). Linear codes reach down to a 127th of the largest value: where gradients
/// are a hundredth of their neighbours' m is lost, or v is, and the quotient explodes. The squares
/// have fine steps where values are small, the same 4 to 5 decades for m and for sqrt(v), and steps of
/// 1.6 % and 0.8 % of a value at the top. Unlike the dynamic code of Dettmers et al. they need no
/// table: coding is a few vector instructions. Where v is not 0 its code is not: the least code of m
/// over that of sqrt(v) is 4 times the quotient of the group's largest, and no update is larger.
///
/// Rounding is stochastic in the value, not in the code: the mean of what is decoded is the moment.
/// To the nearest, the change of a step, (1 - beta2) of v, would be less than half the distance to the
/// next code, and lost for ever.
enum MomentCode {
  static let firstSteps: Float = 127 * 127
  static let secondSteps: Float = 255 * 255
  /// Times `firstSteps` and `secondSteps` they are 1 in Float, exactly: the largest value of a group
  /// comes back as it was.
  static let firstUnit: Float = 1 / firstSteps
  static let secondUnit: Float = 1 / secondSteps

  @inline(__always)
  static func first(_ code: UInt8, scale: Float) -> Float {
    let c = Float(Int8(bitPattern: code))
    return c * c.magnitude * firstUnit * scale
  }

  @inline(__always)
  static func second(_ code: UInt8, scale: Float) -> Float {
    let c = Float(code)
    let root = c * c * secondUnit
    return root * root * scale
  }

  /// - Parameters:
  ///   - inverse: of the scale, a little more than 1 / scale: the scale times it is at least 1.
  ///   - noise: of 0 ..< 2^16; 0x8000 rounds to the nearest.
  @inline(__always)
  static func encodedFirst(_ value: Float, inverse: Float, _ noise: UInt16) -> UInt8 {
    let share = min(value.magnitude * inverse, 1) * firstSteps
    let c = share.squareRoot().rounded(.down)
    let isUp = Float(noise) * 0x1p-16 * (c + c + 1) < share - c * c
    let code = Int32(truncatingIfNeeded: whole(isUp ? c + 1 : c))
    let sign = Int32(bitPattern: value.bitPattern) &>> 31
    return UInt8(truncatingIfNeeded: (code ^ sign) &- sign)
  }

  @inline(__always)
  static func encodedSecond(_ value: Float, inverse: Float, _ noise: UInt16) -> UInt8 {
    let root = min(value * inverse, 1).squareRoot() * secondSteps
    let c = root.squareRoot().rounded(.down)
    let (low, high) = (c * c, (c + 1) * (c + 1))
    let isUp = Float(noise) * 0x1p-16 * ((high - low) * (high + low)) < (root - low) * (root + low)
    let code = whole(isUp ? c + 1 : c)
    return UInt8(truncatingIfNeeded: max(code, value > 0 ? 1 : 0))
  }

  /// A whole number below 2^22 as such: the lower bits of the float that has no others.
  @inline(__always)
  private static func whole(_ value: Float) -> UInt32 { (value + 0x1p23).bitPattern & 0xff }

  /// The largest magnitude, compared as integers because that vectorises; at most the largest finite
  /// number.
  static func scale(_ values: Span<Float>) -> Float {
    var largest: UInt32 = 0
    for i in values.indices { largest = max(largest, values[i].bitPattern & 0x7fff_ffff) }
    return min(Float(bitPattern: largest), .greatestFiniteMagnitude)
  }
}
