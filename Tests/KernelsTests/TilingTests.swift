import Kernels
import Testing

@Suite struct TilingTests {
  private func tiling(_ rows: Int, _ columns: Int, depth: Int = 512, isTransposed: Bool = false)
    -> Tiling
  {
    Tiling(rows: rows, columns: columns, depth: depth, isTransposed: isTransposed)
  }

  /// Every output is in exactly one tile, whatever the shape.
  @Test(arguments: [1, 15, 16, 17, 64, 100, 340, 385, 1000, 3072], [1, 63, 256, 511, 770, 5000])
  func tilesCoverTheOutputs(rows: Int, columns: Int) {
    for (depth, isTransposed) in [(512, false), (8, true), (40, true), (600, true)] {
      let tiling = tiling(rows, columns, depth: depth, isTransposed: isTransposed)
      var outputs = 0
      var seen = Set<[Int]>()
      for tile in 0..<tiling.count {
        let (down, across) = tiling[tile]
        #expect(!down.isEmpty && !across.isEmpty)
        #expect(down.upperBound <= rows && across.upperBound <= columns)
        #expect(down.lowerBound % tiling.tileRows == 0)
        #expect(across.lowerBound % tiling.tileColumns == 0)
        #expect(seen.insert([down.lowerBound, across.lowerBound]).inserted)
        outputs += down.count * across.count
      }
      #expect(outputs == rows * columns)
    }
  }

  /// Worked by hand: the last round of two tiles is full, and no tile is longer than it pays.
  @Test func tilesKeepWorkersBusy() {
    #expect(tiling(170, 1024).count == 2)
    #expect(tiling(256, 3072).count == 4)
    #expect(tiling(340, 2048).tileRows == 352)
    // What is large is cut for many.
    #expect(tiling(2048, 3072).count == 12)
    #expect(700...768 ~= tiling(1024, 50_000).tileColumns)
    // Below 64 on a side packing costs more than an idle worker.
    #expect(tiling(16, 48).count == 1)
  }

  @Test func shortSumsOfTransposedFactorsAreNotPacked() {
    let few = tiling(3072, 768, depth: 40, isTransposed: true)
    #expect(few.tileRows * few.tileColumns * 40 <= 1_000_000)
    #expect(few.tileRows == 128 && few.tileColumns == 192)
    #expect(tiling(3072, 768, depth: 4, isTransposed: true).tileColumns == 256)
    #expect(tiling(3072, 768, depth: 40).tileColumns == 768)
    #expect(tiling(3072, 768, depth: 62, isTransposed: true).tileColumns == 768)
  }
}
