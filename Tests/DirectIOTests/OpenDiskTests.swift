import DirectIO
import Testing

@Test func threadsAreGivenWithoutANoteWhenAsked() {
  let (disk, note) = openDisk(preferring: .threads)
  #expect(disk.engine == "threads")
  #expect(note == nil)
}

/// Either the ring, or threads and the reason.
@Test func theChoiceIsExplained() {
  let (disk, note) = openDisk(preferring: .automatic)
  #expect((disk.engine == "io_uring") == (note == nil))
}

@Test func refusalsSayWhatToDo() {
  #expect(RingRefusal(code: 1).description.contains("sysctl"))
  #expect(RingRefusal(code: 12).description.contains("ulimit -l"))
  #expect(RingRefusal(code: 38).description.contains("no io_uring"))
}

@Test func countersSubtract() {
  var a = DiskCounters()
  a.bytesRead = 10
  a.requests = 2
  var b = a
  b.bytesRead = 25
  b.requests = 5
  b.retries = 1
  let difference = b - a
  #expect(difference.bytesRead == 15)
  #expect(difference.requests == 3)
  #expect(difference.retries == 1)
}
