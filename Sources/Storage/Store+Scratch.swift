import Base
package import DirectIO

extension Store {
  /// Opens a file without a name on every path of the store, for bytes that nobody needs after this
  /// process.
  /// - Parameters:
  ///   - number: of those of this process.
  ///   - bytesPerPath: the size of each, allocated now.
  ///   - setting: without such files, for errors.
  /// - Throws: `StorageError.scratch`, also where a path has no room for it.
  package func openScratch(
    number: Int = 0, bytesPerPath: Int, avoidedBy setting: String
  ) throws(StorageError) -> [DiskFile] {
    var opened: [DiskFile] = []
    for data in files.compactMap({ $0 }) {
      let path = parent(of: data.path) + "/" + Self.scratchName(number)
      do throws(DiskError) {
        opened.append(try disk.openFile(path, byteCount: bytesPerPath, .scratch))
      } catch {
        throw .scratch(error, avoidedBy: setting)
      }
    }
    return opened
  }

  private static func scratchName(_ number: Int) -> String {
    number == 0 ? "scratch.bin" : "scratch-\(number).bin"
  }
}
