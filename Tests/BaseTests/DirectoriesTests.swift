import Base
import Glibc
import Testing

@Test(arguments: [
  ("a/b", "a"), ("/a/b/", "/a"), ("/a", "/"), ("/", "/"), ("a", "."), ("a/", "."), ("//a", "/"),
  ("a//b", "a/"), ("../a", ".."),
])
func theDirectoryOfAPathIsAllButItsLastComponent(_ path: String, _ expected: String) {
  #expect(parent(of: path) == expected)
}

@Test func namesAreSyncedWhereThereIsADirectory() {
  #expect(syncNames(in: "/tmp") == 0)
  #expect(syncNames(in: "/nowhere") == ENOENT)
  #expect(syncNames(in: "/etc/hostname") == ENOTDIR)
}
