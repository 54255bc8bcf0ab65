/// What a comparison found.
// Names are the keys of the JSON.
// swift-format-ignore: AlwaysUseLowerCamelCase
package struct GoldenReport: Encodable, Sendable {
  /// Largest differences: absolute of logits and losses, of gradient norms relative.
  package struct Differences: Encodable, Sendable {
    package var eval_logits: Double?
    package var eval_loss: Double?
    package var train_logits: Double?
    package var train_loss: Double?
    package var gradient_norms: Double?
    /// The tensor whose norm is farthest off.
    package var worst_gradient: String?
    /// By convention.
    package var adamw_losses: [String: Double]?
  }
  struct Tolerances: Encodable, Sendable {
    let logits = 2e-5
    let losses = 1e-5
    let gradient_norms = 1e-4
    let adamw_losses = 5e-5
  }

  let folder: String
  let family: String
  let tolerances = Tolerances()
  /// By case, `full` and `padded`.
  package var resident: [String: Differences] = [:]
  package var paged: [String: Differences] = [:]
  /// Whether both have the same bits.
  package var same_bits = true
  /// What is outside its tolerance.
  package var failures: [String] = []
  package var passed: Bool { failures.isEmpty && same_bits && !resident.isEmpty }

  private enum CodingKeys: String, CodingKey {
    case folder, family, tolerances, resident, paged, same_bits, failures, passed
  }
  package func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(folder, forKey: .folder)
    try values.encode(family, forKey: .family)
    try values.encode(tolerances, forKey: .tolerances)
    try values.encode(resident, forKey: .resident)
    try values.encode(paged, forKey: .paged)
    try values.encode(same_bits, forKey: .same_bits)
    try values.encode(failures, forKey: .failures)
    try values.encode(passed, forKey: .passed)
  }

  /// Notes what of `differences` is too large, or not a number.
  mutating func judge(_ differences: Differences, _ place: String) {
    // Without these nothing was compared.
    if differences.eval_logits == nil || differences.eval_loss == nil {
      failures.append("\(place) the golden has no logits and loss of evaluation")
    }
    func check(_ name: String, _ value: Double?, _ tolerance: Double) {
      // A NaN is inside nothing.
      guard let value, !(value <= tolerance) else { return }
      failures.append("\(place) \(name): \(value) is more than \(tolerance)")
    }
    check("eval logits", differences.eval_logits, tolerances.logits)
    check("eval loss", differences.eval_loss, tolerances.losses)
    check("train logits", differences.train_logits, tolerances.logits)
    check("train loss", differences.train_loss, tolerances.losses)
    check(
      "gradient norm of \(differences.worst_gradient ?? "")", differences.gradient_norms,
      tolerances.gradient_norms)
    for (name, value) in (differences.adamw_losses ?? [:]).sorted(by: { $0.key < $1.key }) {
      check("AdamW losses, \(name)", value, tolerances.adamw_losses)
    }
  }
}
