import Foundation
import Interchange
import Testing

@Suite struct ChromeTraceTests {
  private func object(_ trace: inout ChromeTrace) throws -> [String: Any] {
    let bytes = trace.take() + ChromeTrace.ending([("dropped_events", .integer(3))])
    return try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
  }

  /// Every kind of event, field for field.
  @Test func eventsHaveTheFieldsOfTheFormat() throws {
    var trace = ChromeTrace()
    let row = ChromeTrace.Row(process: 2, thread: 7)
    trace.name(process: 2, "disk: /mnt/a", order: 5)
    trace.name(row, "reads 1")
    trace.span(
      "stall", category: "stall", row, start: 1_234_567, duration: 89, color: "terrible",
      [("cause", .text("read")), ("bytes", .integer(4096))])
    trace.level(
      "bytes in flight", process: 1, time: 5, [("read", .integer(1)), ("write", .integer(2))])
    let file = try object(&trace)
    #expect(file["displayTimeUnit"] as? String == "ms")
    #expect(file["otherData"] as? [String: Int] == ["dropped_events": 3])
    let events = try #require(file["traceEvents"] as? [[String: Any]])
    let expected: [[String: Any]] = [
      ["ph": "M", "name": "process_name", "pid": 2, "tid": 0, "args": ["name": "disk: /mnt/a"]],
      ["ph": "M", "name": "process_sort_index", "pid": 2, "tid": 0, "args": ["sort_index": 5]],
      ["ph": "M", "name": "thread_name", "pid": 2, "tid": 7, "args": ["name": "reads 1"]],
      ["ph": "M", "name": "thread_sort_index", "pid": 2, "tid": 7, "args": ["sort_index": 7]],
      [
        "ph": "X", "name": "stall", "cat": "stall", "pid": 2, "tid": 7, "ts": 1234.567,
        "dur": 0.089, "cname": "terrible", "args": ["cause": "read", "bytes": 4096],
      ],
      [
        "ph": "C", "name": "bytes in flight", "pid": 1, "tid": 0, "ts": 0.005,
        "args": ["read": 1, "write": 2],
      ],
    ]
    #expect(events as NSArray == expected as NSArray)
  }

  /// Nothing, one event, and pieces that were taken away in between: whole files all.
  @Test func anyNumberOfEventsIsAFile() throws {
    var trace = ChromeTrace()
    #expect((try object(&trace)["traceEvents"] as? [Any])?.isEmpty == true)

    trace = ChromeTrace()
    var bytes: [UInt8] = []
    for index in 0..<3 {
      trace.span(
        "a \"quoted\"\\ name\n", category: "c", .init(process: 1, thread: 1), start: index,
        duration: 0)
      bytes += trace.take()
      let whole = Data(bytes + ChromeTrace.ending([]))
      let file = try #require(try JSONSerialization.jsonObject(with: whole) as? [String: Any])
      let events = try #require(file["traceEvents"] as? [[String: Any]])
      #expect(events.count == index + 1)
      #expect(events.last?["name"] as? String == "a \"quoted\"\\ name\n")
    }
  }
}
