import DirectIO
import Glibc
import PinnedMemory
import Testing

/// The decision about every answer of the kernel, without a kernel.
@Suite struct RequestTests {
  let memory = Memory(pages: 4)
  let file = OpenFile(
    descriptor: -1, path: "/data/a", isDirect: true, alignment: 4096, memoryAlignment: 512)

  func request(_ kind: Transfer.Kind) -> Request {
    Request(kind, file, row: 0, offset: 8192, memory: memory.slice)
  }
  /// Gives the same answer until the verdict is final.
  func persist(_ kind: Transfer.Kind, _ result: Int) -> (answers: Int, failure: DiskError?) {
    var request = request(kind)
    for answers in 1... {
      switch request.verdict(result) {
      case .done: return (answers, nil)
      case .failed(let failure): return (answers, failure)
      case .again(let next): request = next
      }
    }
    fatalError("unreachable: the loop has no end but return")
  }

  @Test func wholeIsDone() {
    #expect(persist(.read, 4 * 4096).answers == 1)
    #expect(persist(.read, 4 * 4096).failure == nil)
  }

  @Test func shortTransfersContinueAligned() {
    guard case .again(let rest) = request(.write).verdict(5000) else {
      Issue.record("a short write is continued")
      return
    }
    #expect(rest.offset == 8192 + 4096)
    #expect(rest.memory.byteCount == 3 * 4096)
    #expect(unsafe rest.memory.address == memory.slice.address + 4096)
    guard case .done = rest.verdict(3 * 4096) else {
      Issue.record("the rest completes it")
      return
    }
  }

  @Test func endOfFileIsAFailure() {
    let (answers, failure) = persist(.read, 0)
    #expect(answers == 1)
    #expect(failure?.remedy.contains("ends at 8192") == true)
    #expect(persist(.read, 100).failure?.remedy.contains("ends at 8292") == true)
    #expect(persist(.write, 0).failure?.code == ENOSPC)
  }

  @Test func deviceErrorsAreRepeatedThreeTimes() {
    let (answers, failure) = persist(.read, Int(-EIO))
    #expect(answers == 4)
    #expect(failure?.code == EIO && failure?.offset == 8192 && failure?.length == 4 * 4096)
    #expect(failure?.description.contains("/data/a") == true)
  }

  @Test func interruptionsAreRepeatedAndEnd() {
    for code in [EINTR, EAGAIN] {
      let (answers, failure) = persist(.write, Int(-code))
      #expect(answers > 1000)
      #expect(failure?.code == code)
    }
  }

  @Test(arguments: [ENOSPC, EDQUOT, EFBIG, EINVAL, ENODEV, EOPNOTSUPP, EROFS, EPROTO])
  func otherErrorsAreFinalAndExplained(_ code: Int32) {
    let (answers, failure) = persist(.write, Int(-code))
    #expect(answers == 1)
    #expect(failure?.code == code)
    #expect((failure?.remedy.count ?? 0) > 15)
  }
}
