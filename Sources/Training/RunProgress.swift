import Foundation

/// What a generation remembers beside the records: where the run is, and what it has cost so far.
/// The data cursor is the step: batches are a pure function of seed and step.
package struct RunProgress: Codable, Equatable, Sendable {
  package private(set) var step = 0
  package private(set) var tokens = 0
  package private(set) var seconds = 0.0
  package private(set) var stallSeconds = 0.0
  package private(set) var bytesRead = 0
  package private(set) var bytesWritten = 0
  package private(set) var visits = 0
  package private(set) var hits = 0

  package init() {}

  mutating func add(_ metrics: StepMetrics) {
    step = metrics.step
    tokens += metrics.tokens
    seconds += metrics.step_s
    stallSeconds += metrics.stall_s
    bytesRead += metrics.read_bytes
    bytesWritten += metrics.write_bytes
    visits += metrics.visits
    hits += metrics.hits
  }

  func payload() throws -> [UInt8] { Array(try JSONEncoder().encode(self)) }

  init(payload: [UInt8]) throws {
    do {
      self = try JSONDecoder().decode(RunProgress.self, from: Data(payload))
    } catch {
      throw TrainingError.damagedState(cause: "the progress beside it is not readable")
    }
  }
}
