/// Something the disk could not do, with all that is needed to act on it.
package struct DiskError: Error, Sendable, CustomStringConvertible {
  package enum Action: String, Sendable { case open, create, read, write, sync, lock }

  package let action: Action
  package let path: String
  package let offset: Int
  package let length: Int
  /// The errno of the failed call; 0 where the call succeeded and delivered the wrong thing.
  package let code: Int32
  /// What it means and what to do, one sentence.
  package let remedy: String

  package init(
    _ action: Action, path: String, offset: Int = 0, length: Int = 0, code: Int32, remedy: String
  ) {
    self.action = action
    self.path = path
    self.offset = offset
    self.length = length
    self.code = code
    self.remedy = remedy
  }

  package var description: String {
    let place = length > 0 ? " at offset \(offset), \(length) bytes" : ""
    return "cannot \(action.rawValue) \(path)\(place): \(remedy)"
  }
}
