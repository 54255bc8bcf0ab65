import Models
import Testing

/// The parameter count that methods for 50 languages report: base 0.634 billion at d = 1024, f =
/// 4096, 24 + 12 layers and a vocabulary of 128k, norms aside; 10.1 billion with 64 experts.
@Test func theShapeOfTheTenBillionModelCountsTenBillion() {
  let shape = ZcodeShape(
    width: 1024, heads: 16, hidden: 4096, encoderLayers: 24, decoderLayers: 12, experts: 64,
    sparseStep: 2, vocabulary: 128_000)
  let description = ZcodeDescription(shape)
  let experts = shape.expertBlocks * shape.parametersPerBlock
  #expect(shape.mixtures == 18)
  #expect(experts == 18 * 64 * 2 * 1024 * 4096)
  let total = Double(description.layout.count + experts)
  #expect(abs(total / 1e9 - 10.1) < 0.1, "\(total)")
}

@Test func slicesDivideTheHiddenDimensionAndFitTheBlock() {
  func slices(hidden: Int = 1024, blockBytes: Int) -> Int? {
    ZcodeShape.slices(hidden: hidden, width: 256, bytesPerParameter: 12, blockBytes: blockBytes)
  }
  #expect(slices(blockBytes: 6 << 20) == 1)
  #expect(slices(blockBytes: 2 << 20) == 4)
  // 5 slices would fit, but 1024 is not divisible by 5.
  #expect(slices(blockBytes: 1_300_000) == 8)
  #expect(slices(hidden: 8, blockBytes: 100) == nil)
}

@Test func tensorsCoverTheDenseVectorWithoutGaps() {
  let shape = ZcodeShape(
    width: 8, heads: 2, hidden: 16, encoderLayers: 2, decoderLayers: 2, experts: 3, sparseStep: 2,
    vocabulary: 11)
  let layout = ZcodeDescription(shape).layout
  var next = 0
  for slot in layout.slots {
    #expect(slot.offset == next)
    next += slot.count
  }
  #expect(next == layout.count)
  #expect(Set(layout.slots.map(\.name)).count == layout.slots.count)
}
