import Models
import Testing

/// The parameter count that methods for 50 languages report: base 0.634 billion at d = 1024, f =
/// 4096, 24 + 12 layers and a vocabulary of 128k, norms aside; 10.1 billion with 64 experts.
@Test func theShapeOfTheTenBillionModelCountsTenBillion() {
  let zcode = Zcode(
    width: 1024, heads: 16, hidden: 4096, encoderLayers: 24, decoderLayers: 12, sparseStep: 2,
    vocabulary: 128_000, experts: ExpertShape(count: 64, width: 1024, hidden: 4096))
  let description = zcode.description(TopOneRule())
  let experts = description.expertBlocks * description.experts.parametersPerBlock
  #expect(description.mixtures == 18)
  #expect(experts == 18 * 64 * 2 * 1024 * 4096)
  let total = Double(description.layout.count + experts)
  #expect(abs(total / 1e9 - 10.1) < 0.1, "\(total)")
}

@Test func slicesDivideTheHiddenDimensionAndFitTheBlock() {
  func slices(hidden: Int = 1024, blockBytes: Int) -> Int? {
    ExpertShape(count: 1, width: 256, hidden: hidden)
      .sliced(bytesPerParameter: 12, blockBytes: blockBytes)?.slices
  }
  #expect(slices(blockBytes: 6 << 20) == 1)
  #expect(slices(blockBytes: 2 << 20) == 4)
  // 5 slices would fit, but 1024 is not divisible by 5.
  #expect(slices(blockBytes: 1_300_000) == 8)
  #expect(slices(hidden: 8, blockBytes: 100) == nil)
}

@Test func tensorsCoverTheDenseVectorWithoutGaps() {
  let zcode = Zcode(
    width: 8, heads: 2, hidden: 16, encoderLayers: 2, decoderLayers: 2, sparseStep: 2,
    vocabulary: 11, experts: ExpertShape(count: 3, width: 8, hidden: 16))
  let layout = zcode.description(TopOneRule()).layout
  var next = 0
  for slot in layout.slots {
    #expect(slot.offset == next)
    next += slot.count
  }
  #expect(next == layout.count)
  #expect(
    Set(layout.slots.flatMap { $0.parts.map(\.name) }).count
      == layout.slots.reduce(0) { $0 + $1.parts.count })
}
