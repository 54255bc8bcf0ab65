import Glibc
import Storage

/// Where the databases of simulated runs are: in memory where there is some to be had as files.
package final class Scratch {
  package let path: String
  private var count = 0

  package init() throws(SimulationFailure) {
    let parent = unsafe access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
    var template = Array("\(parent)/pagoda-simulate-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else {
      throw SimulationFailure("cannot make a directory in \(parent): errno \(errno)")
    }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { removeTree(path) }

  /// A new directory, empty.
  func directory(_ name: String) throws(SimulationFailure) -> Place {
    count += 1
    let place = Place(path: "\(path)/\(name)-\(count)")
    guard unsafe mkdir(place.path, mode_t(0o700)) == 0 else {
      throw SimulationFailure("cannot make \(place.path): errno \(errno)")
    }
    return place
  }

  struct Place {
    let path: String
    /// Nothing is remembered of simulated drives.
    var profiles: DriveProfiles { DriveProfiles(path: path + "/none.json") }
    func remove() { removeTree(path) }
  }
}

/// Removes a directory with everything in it.
private func removeTree(_ path: String) {
  guard let directory = unsafe opendir(path) else { return }
  while let entry = unsafe readdir(directory) {
    let name = unsafe withUnsafeBytes(of: entry.pointee.d_name) {
      unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
    }
    if name == "." || name == ".." { continue }
    let child = path + "/" + name
    if unsafe entry.pointee.d_type == UInt8(DT_DIR) {
      removeTree(child)
    } else {
      unsafe _ = unlink(child)
    }
  }
  unsafe _ = closedir(directory)
  unsafe _ = rmdir(path)
}
