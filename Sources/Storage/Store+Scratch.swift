import Base
package import DirectIO

extension Store {
  /// Opens a file without a name on every path of the store, for bytes that nobody needs after this
  /// process.
  /// - Parameter bytesPerPath: the size of each, allocated now.
  /// - Throws: `StorageError.scratch`, also where a path has no room for it.
  package func openScratch(bytesPerPath: Int) throws(StorageError) -> [DiskFile] {
    var opened: [DiskFile] = []
    for data in files.compactMap({ $0 }) {
      let path = parent(of: data.path) + "/" + Self.scratchName
      do throws(DiskError) {
        opened.append(try disk.openFile(path, byteCount: bytesPerPath, .scratch))
      } catch {
        throw .scratch(error)
      }
    }
    return opened
  }

  static let scratchName = "scratch.bin"
}
