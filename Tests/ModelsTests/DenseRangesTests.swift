import Models
import Testing

@Suite struct DenseRangesTests {
  /// Every tensor is of one layer or of none; those of none are the ends of the model.
  @Test(arguments: FamilyGradientTests.Family.allCases)
  func layersLieTogether(_ family: FamilyGradientTests.Family) throws {
    let description = FamilyGradientTests.description(family)
    let ranges = description.denseRanges
    #expect(ranges.count == description.layers.count)
    for (range, next) in zip(ranges, ranges.dropFirst()) {
      #expect(range.upperBound <= next.lowerBound)
    }
    for (number, layer) in description.layers.enumerated() {
      #expect(description.number(of: layer) == number)
      #expect(ranges[number].contains(layer.selfAttention.input.weight.offset))
    }
    let outside = description.layout.slots.filter { slot in
      !ranges.contains { $0.overlaps(slot.range) }
    }
    #expect(outside.contains(description.embedding.table))
    #expect(outside.contains(description.head.weight))
    #expect(outside.contains(description.decoder.finalNorm.gain))
    for slot in description.layout.slots where !outside.contains(slot) {
      #expect(
        ranges.count { $0.contains(slot.offset) && $0.contains(slot.range.upperBound - 1) } == 1)
    }
  }
}
