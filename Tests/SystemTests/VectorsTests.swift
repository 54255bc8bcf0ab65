import Testing

/// Wider vectors: what they may change and what not.
@Suite struct VectorsTests {
  let workplace: Workplace
  init() throws { workplace = try Workplace() }

  /// Goal: a run goes on with the same bits on a processor without AVX-512.
  @Test func withoutAVX512TheBitsAreTheSame() throws {
    try Pagoda.run(workplace.training("wide")).expect(0)
    try Pagoda.run(workplace.training("narrow"), under: ["PAGODA_VECTORS=avx2"]).expect(0)
    #expect(try workplace.printedLosses("wide") == workplace.printedLosses("narrow"))
    #expect(try workplace.printedEvaluations("wide") == workplace.printedEvaluations("narrow"))
  }

  /// Goal: whoever turns them off can see it.
  @Test func doctorSaysWhichAreUsed() throws {
    let ending = try Pagoda.run(["doctor"], under: ["PAGODA_VECTORS=avx2"])
    ending.expect(0)
    #expect(ending.output.contains("; kernels in AVX2"))
  }
}
