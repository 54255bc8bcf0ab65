/// What happened in simulated runs. A kind of trouble that never came has proved nothing.
// Names are the keys of a line of JSON.
// swift-format-ignore: AlwaysUseLowerCamelCase
package struct Tally: Codable, Sendable {
  package var runs = 0
  package var processes = 0
  package var power_failures = 0
  package var kills = 0
  /// Ends that came while a store was opened, in a step, in a commit.
  package var ends_while_opening = 0
  package var ends_in_steps = 0
  package var ends_in_commits = 0
  /// Processes that ended with the error that was due.
  package var disk_errors = 0
  package var database_errors = 0
  package var database_full = 0
  package var damage_found = 0
  /// Faults that came and were mended without anybody's noticing.
  package var transient_errors = 0
  package var bit_flips = 0
  package var steps = 0
  /// Steps that had been computed before.
  package var steps_again = 0
  package var evaluations = 0
  package var commits = 0
  package var operations = 0

  package init() {}

  package static func += (sum: inout Tally, other: Tally) {
    let all: [WritableKeyPath<Tally, Int>] = [
      \.runs, \.processes, \.power_failures, \.kills, \.ends_while_opening, \.ends_in_steps,
      \.ends_in_commits, \.disk_errors, \.database_errors, \.database_full, \.damage_found,
      \.transient_errors, \.bit_flips, \.steps, \.steps_again, \.evaluations, \.commits,
      \.operations,
    ]
    for key in all { sum[keyPath: key] += other[keyPath: key] }
  }
}

/// A promise that was not kept.
package struct SimulationFailure: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}
