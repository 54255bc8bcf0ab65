/// Chrome's Trace Event Format, the JSON that ui.perfetto.dev and chrome://tracing load:
///
///     {"displayTimeUnit":"ms","traceEvents":[
///     {"ph":"X","name":"router","cat":"compute","pid":1,"tid":1,"ts":12.345,"dur":6.789,"args":{…}},
///     …
///     ],"otherData":{…}}
///
/// `X` is something that lasted, `C` a level from then on, `M` the name of a process or thread. Times
/// are microseconds; here they come as nanoseconds and are written with three decimals, exactly.
///
/// Events gather as bytes, which the owner takes away now and then; `ending` closes what was written
/// so far.
package struct ChromeTrace {
  /// What is not taken away yet.
  package private(set) var bytes: [UInt8] = []
  private var isEmpty = true

  package enum Value {
    case integer(Int)
    case text(String)
  }
  package typealias Fields = [(name: String, value: Value)]

  /// A row of the picture: viewers show threads below their process.
  package struct Row: Hashable, Sendable {
    package let process: Int
    package let thread: Int

    package init(process: Int, thread: Int) { (self.process, self.thread) = (process, thread) }
  }

  package init() {
    bytes += #"{"displayTimeUnit":"ms","traceEvents":["#.utf8
  }

  /// All bytes since the last call.
  package mutating func take() -> [UInt8] {
    defer { bytes.removeAll(keepingCapacity: true) }
    return bytes
  }

  /// What makes the bytes so far a whole file; further events go in its place.
  package static func ending(_ otherData: Fields) -> [UInt8] {
    var file = Self(bytes: Array("\n],\"otherData\":".utf8))
    file.object(otherData)
    file.bytes += "}\n".utf8
    return file.bytes
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }
}

// MARK: Events

extension ChromeTrace {
  /// Names a process; viewers sort by `order`.
  package mutating func name(process: Int, _ name: String, order: Int) {
    metadata("process_name", process, 0, [("name", .text(name))])
    metadata("process_sort_index", process, 0, [("sort_index", .integer(order))])
  }

  package mutating func name(_ row: Row, _ name: String) {
    metadata("thread_name", row.process, row.thread, [("name", .text(name))])
    metadata("thread_sort_index", row.process, row.thread, [("sort_index", .integer(row.thread))])
  }

  private mutating func metadata(
    _ kind: String, _ process: Int, _ thread: Int, _ fields: Fields
  ) {
    begin("M", kind, Row(process: process, thread: thread))
    end(fields)
  }

  /// Something that lasted; rows must be given such as do not overlap unless one lies in the other.
  /// - Parameters:
  ///   - start: nanoseconds from a moment that all events share.
  ///   - color: one of the names that chrome://tracing reserves.
  package mutating func span(
    _ name: String, category: String, _ row: Row, start: Int, duration: Int,
    color: String? = nil, _ fields: Fields = []
  ) {
    begin("X", name, row)
    key("cat")
    text(category)
    key("ts")
    microseconds(start)
    key("dur")
    microseconds(duration)
    if let color {
      key("cname")
      text(color)
    }
    end(fields)
  }

  /// Levels from `time` on, drawn above each other.
  package mutating func level(_ name: String, process: Int, time: Int, _ levels: Fields) {
    begin("C", name, Row(process: process, thread: 0))
    key("ts")
    microseconds(time)
    end(levels)
  }

  private mutating func begin(_ phase: String, _ name: String, _ row: Row) {
    bytes += (isEmpty ? "\n{\"ph\":" : ",\n{\"ph\":").utf8
    isEmpty = false
    text(phase)
    key("name")
    text(name)
    key("pid")
    integer(row.process)
    key("tid")
    integer(row.thread)
  }

  private mutating func end(_ fields: Fields) {
    if !fields.isEmpty {
      key("args")
      object(fields)
    }
    bytes.append(UInt8(ascii: "}"))
  }
}

// MARK: JSON

extension ChromeTrace {
  private mutating func key(_ name: String) {
    bytes.append(UInt8(ascii: ","))
    text(name)
    bytes.append(UInt8(ascii: ":"))
  }

  private mutating func object(_ fields: Fields) {
    bytes.append(UInt8(ascii: "{"))
    for (index, field) in fields.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      text(field.name)
      bytes.append(UInt8(ascii: ":"))
      switch field.value {
      case .integer(let value): integer(value)
      case .text(let value): text(value)
      }
    }
    bytes.append(UInt8(ascii: "}"))
  }

  private mutating func integer(_ value: Int) { bytes += String(value).utf8 }

  /// Thousandths as a decimal fraction.
  private mutating func microseconds(_ nanoseconds: Int) {
    precondition(nanoseconds >= 0, "events come after the beginning")
    integer(nanoseconds / 1000)
    let rest = nanoseconds % 1000
    bytes.append(UInt8(ascii: "."))
    for digit in [rest / 100, rest / 10 % 10, rest % 10] {
      bytes.append(UInt8(ascii: "0") + UInt8(digit))
    }
  }

  private mutating func text(_ value: String) {
    var quoted = ""
    JSONValue.quote(value, to: &quoted)
    bytes += quoted.utf8
  }
}
