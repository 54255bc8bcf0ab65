/// What the disk and the databases of a simulated machine were asked and did, in order, as one
/// number: equal for equal seeds, different as soon as anything differs.
package final class EventLog {
  package enum Action: String, Sendable {
    case open, create, read, write, sync, truncate, delete
    case errand, powerFailure, kill, start
  }

  package private(set) var count = 0
  package private(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325
  /// Told of every event as a line of text, if there is somebody.
  package var observe: ((String) -> Void)?
  private let root: String

  /// - Parameter root: what paths begin with and is none of a seed's business.
  package init(root: String = "") { self.root = root }

  func add(
    _ action: Action, _ path: String = "", offset: Int = 0, length: Int = 0, failure: Int32 = 0
  ) {
    count += 1
    let name = path.hasPrefix(root) ? path.dropFirst(root.count) : path[...]
    for byte in action.rawValue.utf8 { mix(UInt64(byte)) }
    for byte in name.utf8 { mix(UInt64(byte)) }
    for number in [offset, length, Int(failure)] { mix(UInt64(bitPattern: Int64(number))) }
    guard let observe else { return }
    let place = length > 0 || offset > 0 ? " \(length) bytes at \(offset)" : ""
    let result = failure == 0 ? "" : ": failure \(failure)"
    observe("\(count) \(action) \(name)\(place)\(result)")
  }

  /// FNV-1a, a word at a time.
  private func mix(_ word: UInt64) { digest = (digest ^ word) &* 0x100_0000_01b3 }
}
