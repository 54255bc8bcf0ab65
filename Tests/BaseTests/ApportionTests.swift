import Base
import Testing

@Suite struct ApportionTests {
  @Test func partsAddUp() {
    #expect(apportion(10, [1, 1, 1]) == [4, 3, 3])
    #expect(apportion(0, [3, 1]) == [0, 0])
    #expect(apportion(5, [0, 5]) == [0, 5])
    #expect(apportion(3, [16, 8]) == [2, 1])
    for total in 0..<40 { #expect(apportion(total, [6, 1, 7]).reduce(0, +) == total) }
  }
}
