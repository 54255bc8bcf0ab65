import Base
import Glibc
import Testing

@Suite struct AffinityTests {
  /// A pin holds the thread on its processor and gives the others back.
  @Test func aPinEnds() throws {
    let before = Affinity.processors()
    let last = try #require(before.last)
    do {
      let pin = ThreadPin(to: [last])
      #expect(Affinity.processors() == [last])
      #expect(Int(sched_getcpu()) == last)
      _ = consume pin
    }
    #expect(Affinity.processors() == before)
  }

  /// Processors that are not there cannot be had; nothing changes.
  @Test func absentProcessorsAreRefused() {
    let before = Affinity.processors()
    #expect(!Affinity.restrict(to: [8191]))
    #expect(Affinity.processors() == before)
  }
}
