import Base

/// What one run of an entrant came to.
package struct Outcome: Sendable {
  /// Work done in a second, in the unit of the contest: more is better.
  package var rate: Double
  /// Of what was computed.
  package var checksum: Checksum
  /// Whatever else there is to know, by its key in the report; medians over rounds are reported.
  package var figures: [String: Double]

  package init(rate: Double, checksum: Checksum, figures: [String: Double] = [:]) {
    (self.rate, self.checksum, self.figures) = (rate, checksum, figures)
  }
}

/// Somebody who takes a turn in every round.
package struct Entrant {
  package let name: String
  let run: () throws -> Outcome

  package init(_ name: String, run: @escaping () throws -> Outcome) {
    (self.name, self.run) = (name, run)
  }
}

/// Named entrants that take turns, round after round, so that whatever else the machine does hits all
/// of them alike. Who begins changes from round to round. Rates are compared within a round; what is
/// reported are medians over rounds, and the spread.
package struct Contest {
  /// What is measured, and on what: `adam`, `100000000 elements, 2 threads`.
  package var bench: String
  package var subject: String
  package var unit: String
  package var rounds: Int
  /// Rounds that come first and do not count: they fault pages in and wake threads.
  package var warmups = 1
  /// The entrants that say what the machine can do. What others reach is compared with the best of
  /// them.
  package var ceilings: Set<String> = []
  /// Entrants that must compute the same.
  package var agreeing: Set<String> = []

  package init(bench: String, subject: String, unit: String, rounds: Int) {
    precondition(rounds > 0, "a contest has rounds")
    (self.bench, self.subject, self.unit, self.rounds) = (bench, subject, unit, rounds)
  }

  package func run(_ entrants: [Entrant]) throws -> ContestReport {
    precondition(!entrants.isEmpty, "a contest has entrants")
    precondition(Set(entrants.map(\.name)).count == entrants.count, "entrants have names")
    var outcomes = [[Outcome]](repeating: [], count: entrants.count)
    for round in 0..<warmups + rounds {
      for turn in entrants.indices {
        let index = (turn + round) % entrants.count
        let outcome = try entrants[index].run()
        if round >= warmups { outcomes[index].append(outcome) }
      }
    }
    return ContestReport(self, entrants.map(\.name), outcomes)
  }
}

/// Seconds of wall clock that `body` takes.
package func seconds(_ body: () throws -> Void) rethrows -> Double {
  let start = ContinuousClock.now
  try body()
  return (ContinuousClock.now - start) / .seconds(1)
}
