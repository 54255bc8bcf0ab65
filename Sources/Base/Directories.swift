import Glibc

/// The directory that `path` is in: the path without its last component, `.` where it has no other.
package func parent(of path: String) -> String {
  var end = path.endIndex
  while end > path.startIndex, path[path.index(before: end)] == "/" {
    end = path.index(before: end)
  }
  guard let slash = path[..<end].lastIndex(of: "/") else { return path.hasPrefix("/") ? "/" : "." }
  let head = path[..<slash]
  return head.allSatisfy { $0 == "/" } ? "/" : String(head)
}

/// Makes the names in a directory durable.
/// - Returns: the errno of what failed, or 0.
package func syncNames(in directory: String) -> Int32 {
  let descriptor = retrying { unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
  guard descriptor >= 0 else { return errno }
  defer { close(descriptor) }
  // Some file systems cannot sync directories and say EINVAL; their names are durable otherwise.
  return retrying { fsync(descriptor) } == 0 || errno == EINVAL ? 0 : errno
}

/// Calls until the answer is not EINTR. For calls on descriptors.
package func retrying(_ call: () -> Int32) -> Int32 {
  while true {
    let result = call()
    if result >= 0 || errno != EINTR { return result }
  }
}
