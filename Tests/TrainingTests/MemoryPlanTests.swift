import Base
import Paging
import Storage
import Testing
import Training

/// How page frames are shared out, over records of one page for weights and five for state.
@Suite struct MemoryPlanTests {
  private let geometry = RecordGeometry(parametersPerBlock: 2048, RecordFormat())
  private static let blocks = 100
  /// Of a layer.
  private static let updated = 20

  private func plan(pages: Int, updated: Int = Self.updated) throws -> MemoryPlan {
    try MemoryPlan(
      ceiling: pages * 4096, fixed: [], geometry: geometry, blocks: Self.blocks, updated: updated,
      resident: false)
  }

  /// First the least; then a few frames for state, as many as for weights; then for every one that is
  /// read ahead two for weights, up to a layer's; then all weights; then state again.
  @Test(arguments: [
    (24, 4, 4), (30, 5, 5), (48, 8, 8), (56, 8, 16), (70, 10, 20), (140, 20, 40), (150, 20, 50),
    (200, 20, 100), (300, 40, 100), (595, 99, 100),
  ])
  func framesComeInThisOrder(_ pages: Int, _ state: Int, _ weights: Int) throws {
    #expect([geometry.weightFrameBytes, geometry.stateFrameBytes] == [4096, 5 * 4096])
    let plan = try plan(pages: pages)
    #expect(plan.frames == FrameBudget(weights: weights, state: state))
    #expect(!plan.isResident)
  }

  /// Where nothing is updated, nothing is read ahead: a quarter of the pool overlaps reads and writes.
  @Test(arguments: [(48, 4, 28), (120, 6, 90), (160, 12, 100)])
  func withoutUpdatesWeightsComeFirst(_ pages: Int, _ state: Int, _ weights: Int) throws {
    #expect(
      try plan(pages: pages, updated: 0).frames == FrameBudget(weights: weights, state: state))
  }

  @Test func fewerThanTheLeastAreRefusedAndAllAreResident() throws {
    let refusal = #expect(throws: MemoryRefusal.self) { _ = try plan(pages: 23) }
    #expect(try #require(refusal).missing == 4096)
    let all = try plan(pages: 600)
    #expect(all.isResident && all.frames == FrameBudget(weights: 100, state: 100))
  }
}
