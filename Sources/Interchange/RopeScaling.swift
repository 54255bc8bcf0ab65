import Glibc

/// How rotary positions are slowed down, under the names of transformers: `rope_scaling`, or since
/// version 5 `rope_parameters`.
package enum RopeScaling: Hashable, Sendable {
  case none
  case linear(factor: Double)
  case llama3(factor: Double, low: Double, high: Double, length: Int)
  case yarn(YaRN)

  package struct YaRN: Hashable, Sendable {
    package let factor: Double
    /// Turns within `length` positions: up to `slow` all of the factor, from `fast` on none of it.
    package let slow: Double
    package let fast: Double
    package let length: Int
    package let isRounded: Bool
    /// What queries and keys are multiplied by.
    package let attentionFactor: Double
  }

  static let bases = 1.0.nextUp...1e30
  private static let factors = 1e-6...1e6

  /// - Parameter theta: `rope_theta` beside the other keys; one among these counts more.
  static func read(
    _ reader: inout ConfigurationReader, theta: Double, positionsMax: Int
  ) throws(InterchangeError) -> (theta: Double, scaling: RopeScaling) {
    var theta = theta
    guard try reader.number("partial_rotary_factor", default: 1, in: 0...1) == 1 else {
      throw reader.unsupported(
        "partial_rotary_factor", "rotates a part of the heads only", "known is 1")
    }
    guard var rope = try reader.object("rope_parameters", "rope_scaling") else {
      return (theta, .none)
    }
    let old = try rope.string("type")
    let type = try rope.string("rope_type") ?? old ?? "default"
    theta = try rope.number("rope_theta", default: theta, in: bases)
    guard try rope.number("partial_rotary_factor", default: 1, in: 0...1) == 1 else {
      throw reader.unsupported(
        "rope_parameters", "rotates a part of the heads only", "known is a factor of 1")
    }
    let scaling: RopeScaling
    switch type {
    case "default": scaling = .none
    case "linear": scaling = .linear(factor: try rope.number("factor", default: nil, in: factors))
    case "llama3": scaling = try llama3(&rope)
    case "yarn": scaling = .yarn(try YaRN(&rope, positionsMax: positionsMax))
    default:
      throw reader.unsupported(
        "rope_scaling", "is of type \"\(printable(type))\"",
        "known are default, linear, llama3, yarn")
    }
    guard rope.rest.isEmpty else {
      let key = printable(rope.rest.keys.min() ?? "")
      throw reader.unsupported(
        "rope_parameters", "has the key `\(key)`",
        "type \"\(printable(type))\" has none of that name")
    }
    return (theta, scaling)
  }

  private static func llama3(
    _ rope: inout ConfigurationReader
  ) throws(InterchangeError) -> RopeScaling {
    let factor = try rope.number("factor", default: nil, in: factors)
    let low = try rope.number("low_freq_factor", default: nil, in: factors)
    let high = try rope.number("high_freq_factor", default: nil, in: factors)
    guard low < high else {
      throw rope.malformed("high_freq_factor", "is \(high), not above a low_freq_factor of \(low)")
    }
    let length = try rope.integer(
      "original_max_position_embeddings", default: nil, in: 1...ModelConfiguration.Limits.positions)
    return .llama3(factor: factor, low: low, high: high, length: length)
  }
}

extension RopeScaling.YaRN {
  /// `null` and 0 are as good as no key, as in Python's `or`.
  fileprivate init(
    _ rope: inout ConfigurationReader, positionsMax: Int
  ) throws(InterchangeError) {
    func number(_ key: String) throws(InterchangeError) -> Double? {
      let value = try rope.numberOrNull(key, in: 0...1e6)
      return value == 0 ? nil : value
    }
    factor = try rope.number("factor", default: nil, in: 1...1e6)
    fast = try number("beta_fast") ?? 32
    slow = try number("beta_slow") ?? 1
    let own = try rope.integerOrNull(
      "original_max_position_embeddings", default: nil, in: 0...ModelConfiguration.Limits.positions)
    length = own.flatMap { $0 == 0 ? nil : $0 } ?? positionsMax
    isRounded = try rope.flag("truncate", default: true)
    let (scale, all) = (try number("mscale"), try number("mscale_all_dim"))
    let given = try rope.numberOrNull("attention_factor", in: 0...1e6)
    let factor = factor
    func amplitude(_ scale: Double) -> Double {
      factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1
    }
    if let given {
      attentionFactor = given
    } else if let scale, let all {
      attentionFactor = amplitude(scale) / amplitude(all)
    } else {
      attentionFactor = amplitude(1)
    }
  }
}
