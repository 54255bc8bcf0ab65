import Foundation

/// Files of the test bundle.
enum Resource {
  static func data(_ name: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: path(name)))
  }

  static func path(_ name: String) -> String {
    Bundle.module.bundleURL.appending(path: "Resources/\(name)").path
  }
}
