/// What became of trials, by class of harm. Keys of a line of JSON.
struct Tally: Codable {
  struct Count: Codable {
    var trials = 0
    /// Those that `verify` found; nothing is there to be found in free slots.
    var found = 0
    var refused = 0
    var read = 0
    var unread = 0
  }

  private(set) var classes: [String: Count] = [:]

  mutating func count(_ harm: Harm, _ outcome: Trial.Outcome) {
    var count = classes[harm.name] ?? Count()
    count.trials += 1
    switch outcome {
    case .nothingToFind: count.unread += 1
    case .refusedToOpen: count.refused += 1
    case .foundInTraining: count.read += 1
    case .notRead: count.unread += 1
    }
    if case .freeSlot = harm.content {} else { count.found += 1 }
    classes[harm.name] = count
  }
}
