/// Which of AdamW's moments, m or v: they are coded differently (`MomentRule`).
package enum Moment: Sendable {
  case first, second

  /// What the library of wide loops is told.
  var number: Int32 { self == .first ? 1 : 2 }

  init(number: Int32) {
    switch number {
    case 1: self = .first
    case 2: self = .second
    default: preconditionFailure("no moment has the number \(number)")
    }
  }
}

/// What sets the two moments apart: how a step advances them, and the codes of block-wise 8-bit
/// moments, in groups of at most 256 values that share a scale: the largest magnitude among them,
/// which is exact.
///
///     first moment     m = s c |c| / 127^2     c in -127 ... 127
///     second moment    v = s (c^2 / 255^2)^2   c in 0 ... 255
///
/// An update is m / sqrt(v). Linear codes reach down to a 127th of the largest value: where gradients
/// are a hundredth of their neighbours' m is lost, or v is, and the quotient explodes. The squares
/// have fine steps where values are small, the same 4 to 5 decades for m and for sqrt(v), and steps of
/// 1.6 % and 0.8 % of a value at the top. Unlike the dynamic code of Dettmers et al. they need no
/// table: coding is a few vector instructions. Where v is not 0 its code is not: the least code of m
/// over that of sqrt(v) is 4 times the quotient of the group's largest: no rounding alone makes a
/// larger update.
///
/// Rounding is stochastic in the value, not in the code: the mean of what is decoded is the moment.
/// To the nearest, the change of a step, (1 - beta2) of v, would be less than half the distance to the
/// next code, and lost for ever.
protocol MomentRule {
  /// The moment after a step, from that before it.
  static func advanced(_ value: Float, _ gradient: Float, _ step: AdamWStep) -> Float
  /// What the update of a weight wants of the moment, and its code is made of: m, or sqrt(v).
  static func used(_ value: Float) -> Float
  /// One random number serves both moments: which of its bytes counts most makes it as good as two.
  static func noise(_ number: UInt16) -> UInt16
  /// The magnitude as an integer, in the order of magnitudes: a maximum of integers vectorises.
  static func magnitude(_ value: Float) -> UInt32
  /// Groups whose scale is less are all zeros.
  static var leastScale: Float { get }

  static func decoded(_ code: UInt8, scale: Float) -> Float
  /// What `used` values are multiplied by to be coded: so much that the largest reaches the last code,
  /// whatever is rounded.
  static func factor(scale: Float) -> Float
  /// - Parameters:
  ///   - value: as `used`.
  ///   - noise: as `noise` gives it; 0x8000 rounds to the nearest.
  static func encoded(_ used: Float, factor: Float, _ noise: UInt16) -> UInt8
}

enum FirstMoment: MomentRule {
  @inline(__always)
  static func advanced(_ value: Float, _ gradient: Float, _ step: AdamWStep) -> Float {
    step.firstMoment(value, gradient)
  }
  @inline(__always)
  static func used(_ value: Float) -> Float { value }
  @inline(__always)
  static func noise(_ number: UInt16) -> UInt16 { number.byteSwapped }
  @inline(__always)
  static func magnitude(_ value: Float) -> UInt32 { value.bitPattern & 0x7fff_ffff }
  /// The squares of such gradients are no longer numbers of single precision; and there is room for
  /// the factor.
  static let leastScale: Float = 0x1p-100

  private static let steps: Float = 127 * 127
  /// Times `steps` it is 1, exactly: the largest value of a group comes back as it was.
  private static let unit: Float = 1 / steps

  @inline(__always)
  static func decoded(_ code: UInt8, scale: Float) -> Float {
    let c = Float(Int8(bitPattern: code))
    return c * c.magnitude * unit * scale
  }

  static func factor(scale: Float) -> Float { (steps / scale).nextUp }

  @inline(__always)
  static func encoded(_ used: Float, factor: Float, _ noise: UInt16) -> UInt8 {
    let share = min(used.magnitude * factor, steps)
    let c = share.squareRoot().rounded(.down)
    // Of the 2 c + 1 to the next square.
    let threshold = Float(noise) * Float(0x1p-16).addingProduct(c, 0x1p-15)
    let code = Int32(bitPattern: whole(c, plusOne: threshold < share.addingProduct(-c, c)))
    let sign = Int32(bitPattern: used.bitPattern) &>> 31
    return UInt8(truncatingIfNeeded: (code ^ sign) &- sign)
  }
}

enum SecondMoment: MomentRule {
  @inline(__always)
  static func advanced(_ value: Float, _ gradient: Float, _ step: AdamWStep) -> Float {
    step.secondMoment(value, gradient)
  }
  @inline(__always)
  static func used(_ value: Float) -> Float { value.squareRoot() }
  @inline(__always)
  static func noise(_ number: UInt16) -> UInt16 { number }
  @inline(__always)
  static func magnitude(_ value: Float) -> UInt32 { value.bitPattern }
  static let leastScale = Float.leastNormalMagnitude

  private static let steps: Float = 255 * 255
  /// As that of the first moment.
  private static let unit: Float = 1 / steps

  @inline(__always)
  static func decoded(_ code: UInt8, scale: Float) -> Float {
    let c = Float(code)
    let root = c * c * unit
    return root * root * scale
  }

  static func factor(scale: Float) -> Float { (steps / scale.squareRoot()).nextUp }

  @inline(__always)
  static func encoded(_ used: Float, factor: Float, _ noise: UInt16) -> UInt8 {
    let root = min(used * factor, steps)
    let c = root.squareRoot().rounded(.down)
    let low = c * c
    // (c + 1)^4 - c^4 = 4 h (h^2 + 1/4) for h = c + 1/2; a = h times the cube root of 4 / 2^16.
    let a = Float(0.01968627).addingProduct(c, 0.03937254)
    let threshold = Float(noise) * a * Float(0.0003875492).addingProduct(a, a)
    let code = whole(c, plusOne: threshold < (root * root).addingProduct(-low, low))
    return UInt8(truncatingIfNeeded: max(code, used > 0 ? whole(1, plusOne: false) : 0))
  }
}

/// A whole number below 2^8, or the next, as the lowest byte of the float that has no other low bits.
@inline(__always)
private func whole(_ value: Float, plusOne: Bool) -> UInt32 {
  (value + 0x1p23).bitPattern &+ (plusOne ? 1 : 0)
}
