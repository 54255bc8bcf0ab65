import Foundation
import Testing
import Training

/// A timeline as a viewer reads it. Times are nanoseconds.
struct Timeline: Sendable {
  struct Event: Sendable {
    let phase: String
    let name: String
    let category: String
    let process: Int
    let thread: Int
    let start: Int
    let duration: Int
    private let integers: [String: Int]
    private let texts: [String: String]

    fileprivate init(_ object: [String: Any]) throws {
      func nanoseconds(_ key: String) -> Int {
        Int(((object[key] as? Double ?? 0) * 1000).rounded())
      }
      phase = try #require(object["ph"] as? String)
      name = try #require(object["name"] as? String)
      category = object["cat"] as? String ?? ""
      process = try #require(object["pid"] as? Int)
      thread = try #require(object["tid"] as? Int)
      (start, duration) = (nanoseconds("ts"), nanoseconds("dur"))
      let arguments = object["args"] as? [String: Any] ?? [:]
      integers = arguments.compactMapValues { $0 as? Int }
      texts = arguments.compactMapValues { $0 as? String }
    }

    var end: Int { start + duration }
    /// An argument; -1 where it is not there.
    func integer(_ key: String) -> Int { integers[key] ?? -1 }
    func text(_ key: String) -> String? { texts[key] }
    func contains(_ other: Event) -> Bool { start <= other.start && other.end <= end }
  }

  let events: [Event]
  let dropped: Int

  init(_ path: String) throws {
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    let file = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    let objects = try #require(file["traceEvents"] as? [[String: Any]])
    let other = try #require(file["otherData"] as? [String: Any])
    dropped = try #require(other["dropped_events"] as? Int)
    events = try objects.map { try Event($0) }
  }

  var spans: [Event] { events.filter { $0.phase == "X" } }
  /// Of the training thread, in the order of the file.
  var training: [Event] { spans.filter { $0.process == 1 && $0.thread == 1 } }
  func training(_ name: String) -> [Event] { training.filter { $0.name == name } }
  func transfers(_ category: String) -> [Event] { spans.filter { $0.category == category } }
  var steps: [Event] { training.filter { $0.name.hasPrefix("step ") } }

  /// Names of threads, or of processes.
  func names(_ kind: String) -> [String] {
    events.filter { $0.name == kind }.compactMap { $0.text("name") }
  }

  /// Checks that in every row each event lies in the one before it or comes after it.
  func expectNesting(sourceLocation: SourceLocation = #_sourceLocation) {
    for (row, events) in Dictionary(grouping: spans, by: { [$0.process, $0.thread] }) {
      var open: [Event] = []
      let sorted = events.sorted { ($0.start, -$0.duration) < ($1.start, -$1.duration) }
      for event in sorted {
        while let last = open.last, last.end <= event.start { open.removeLast() }
        #expect(
          open.last.map { $0.contains(event) } ?? true,
          "\(event.name) leaves \(open.last?.name ?? "") in row \(row)",
          sourceLocation: sourceLocation)
        open.append(event)
      }
    }
  }
}

extension [Timeline.Event] {
  /// Those that begin inside `other`.
  func during(_ other: Timeline.Event) -> [Timeline.Event] {
    filter { other.start <= $0.start && $0.start < other.end }
  }
  var seconds: Double { reduce(0) { $0 + Double($1.duration) } * 1e-9 }
}
