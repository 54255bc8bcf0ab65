/// A function of one float and its slope there.
///
/// Without branches or calls, so that loops over it vectorise; where only one of the two is used,
/// the other costs nothing.
protocol Curve {
  static func at(_ x: Float) -> (value: Float, slope: Float)
}

/// max(x, 0); a NaN stays. The slope at 0 is 0.
enum Relu: Curve {
  @inline(__always)
  static func at(_ x: Float) -> (value: Float, slope: Float) {
    (x < 0 ? 0 : x, x > 0 ? 1 : 0)
  }
}

/// x / (1 + e^-x).
enum Silu: Curve {
  @inline(__always)
  static func at(_ x: Float) -> (value: Float, slope: Float) {
    let (s, ds) = Sigmoid.at(x)
    return (x * s, s.addingProduct(x, ds))
  }
}

/// x Phi(x), with the cumulative normal distribution Phi (Hendrycks and Gimpel, "Gaussian error
/// linear units", 2016).
enum Gelu: Curve {
  @inline(__always)
  static func at(_ x: Float) -> (value: Float, slope: Float) {
    let (cumulative, density) = Normal.at(x)
    return (x * cumulative, cumulative.addingProduct(x, density))
  }
}

/// x / 2 (1 + tanh u) with u = sqrt(2 / pi) (x + 0.044715 x^3), which is x sigmoid(2 u): the
/// approximation of `Gelu` in the same paper.
enum GeluTanh: Curve {
  @inline(__always)
  static func at(_ x: Float) -> (value: Float, slope: Float) {
    let (linear, cubic) = (Float(1.5957691216057308), Float(0.07135481627159025))
    let square = x * x
    let (s, ds) = Sigmoid.at(x * linear.addingProduct(cubic, square))
    return (x * s, s.addingProduct(x * ds, linear.addingProduct(3 * cubic, square)))
  }
}

/// 1 / (1 + e^-x), to a few units in the last place on both sides of 0.
enum Sigmoid: Curve {
  @inline(__always)
  static func at(_ x: Float) -> (value: Float, slope: Float) {
    let power = exponential(-x.magnitude)
    let inverse = 1 / (1 + power)
    let value = (x < 0 ? power : 1) * inverse
    return (value, power * inverse * inverse)
  }
}

/// The cumulative normal distribution, and its density.
///
/// The upper tail at a = |x| is e^(-a^2 / 2) t P(t) with t = 1 / (1 + 0.35 a); P is the polynomial
/// of degree 8 of least greatest relative error, 3.2e-8 for a below 14. The rounding of a^2 would
/// be an error of the power that grows with a, so its rest is put back: the tail is good to 1e-6 of
/// itself until it underflows at 13. Above 16 the density is 0 anyway.
enum Normal: Curve {
  @inline(__always)
  static func at(_ x: Float) -> (value: Float, slope: Float) {
    let a = x.magnitude < 16 ? x.magnitude : 16
    let square = a * a
    let rest = (-square).addingProduct(a, a)
    let power = exponential(-0.5 * square) * Float(1).addingProduct(-0.5, rest)
    let t = 1 / Float(1).addingProduct(0.35, a)
    var p = Float(0.14397168159484863).addingProduct(-0.029145928099751472, t)
    p = Float(-0.2557142376899719).addingProduct(p, t)
    p = Float(0.1591741293668747).addingProduct(p, t)
    p = Float(-0.023109814152121544).addingProduct(p, t)
    p = Float(0.105507992208004).addingProduct(p, t)
    p = Float(0.11983287334442139).addingProduct(p, t)
    p = Float(0.13986186683177948).addingProduct(p, t)
    p = Float(0.13962140679359436).addingProduct(p, t)
    let tail = power * t * p
    return (x < 0 ? tail : 1 - tail, 0.3989422804014327 * power)
  }
}
