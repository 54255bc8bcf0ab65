import Foundation
import Interchange
import Testing

@Test func crcMatchesItsPublishedCheckValue() {
  #expect(crc32c(Array("123456789".utf8)) == 0xE306_9283)
}

/// The golden was encoded independently and read back by the tensorboard package.
@Test func eventsEqualTheGoldenFile() throws {
  let url = try #require(
    Bundle.module.url(forResource: "tensorboard", withExtension: "events", subdirectory: "Goldens"))
  var bytes = TensorBoardEvents.header(wallTime: 1.7e9)
  for step in 0..<5 {
    bytes += TensorBoardEvents.scalars(
      wallTime: 1.7e9 + Double(step), step: step,
      [("train/loss", 5 - 0.5 * Float(step)), ("io/read_GBps", 3.25 + Float(step))])
  }
  #expect(try Data(contentsOf: url) == Data(bytes))
}
