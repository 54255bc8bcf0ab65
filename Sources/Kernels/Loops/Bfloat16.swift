/// The two halves of an fp32 weight. `hi` is the nearest bfloat16, halves up in magnitude:
/// (bits + 0x8000) >> 16. `lo`, the low 16 bits read as a signed number, is what is missing.
///
/// Not round-to-even: at a tie it leaves the remainder +32768, which a signed 16-bit number does
/// not hold; 10 % of the means of two bfloat16 weights are such ties.
@inlinable
package func splitMaster(_ weight: Float) -> (hi: UInt16, lo: UInt16) {
  let bits = weight.bitPattern
  return (
    UInt16(truncatingIfNeeded: (bits &+ 0x8000) &>> 16), UInt16(truncatingIfNeeded: bits)
  )
}

/// The weight that was split, bit for bit: (hi << 16) + lo with lo signed.
@inlinable
package func joinMaster(hi: UInt16, lo: UInt16) -> Float {
  let low = UInt32(bitPattern: Int32(Int16(bitPattern: lo)))
  return Float(bitPattern: UInt32(hi) &<< 16 &+ low)
}

/// The nearest bfloat16 of a finite weight, to even at a tie, as files of models are rounded.
@inlinable
package func roundedToBfloat16(_ weight: Float) -> UInt16 {
  let bits = weight.bitPattern
  return UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits &>> 16 & 1)) &>> 16)
}

/// One of the two bfloat16 beside a finite weight: the one of larger magnitude for as many of the
/// 65,536 values of `noise` as the weight is near it. The mean over all of them is the weight, and a
/// bfloat16 stays what it is.
@inlinable
package func roundedStochastically(_ weight: Float, _ noise: UInt16) -> UInt16 {
  UInt16(truncatingIfNeeded: (weight.bitPattern &+ UInt32(noise)) &>> 16)
}

/// A bfloat16 as the float it is.
@inlinable
package func widen(_ hi: UInt16) -> Float { Float(bitPattern: UInt32(hi) &<< 16) }
