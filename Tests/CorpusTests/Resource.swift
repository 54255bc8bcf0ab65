import Foundation

/// Files of the test bundle.
enum Resource {
  static func data(_ name: String) throws -> Data {
    try Data(contentsOf: Bundle.module.bundleURL.appending(path: "Resources/\(name)"))
  }
}
