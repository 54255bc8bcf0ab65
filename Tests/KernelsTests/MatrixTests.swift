import Kernels
import TestSupport
import Testing

@Suite struct MatrixTests {
  /// Goal: sub-views share the floats of the whole, at the right places.
  @Test func viewsShareTheirFloats() {
    let whole = Matrix(rows: 4, columns: 5)
    whole.assign((0..<20).map(Float.init))
    let inner = whole.rows(1..<3).columns(2..<5)
    #expect(inner.values == [7, 8, 9, 12, 13, 14])
    inner.fill(-1)
    #expect(whole[1, 1] == 6)
    #expect(whole[2, 4] == -1)
    let first = whole.row(1)[2]
    #expect(first == -1)
    #expect(whole[3, 2] == 17)
  }

  /// Views for workers write where the matrix does, and outlive it.
  @Test func viewsForWorkersShareItsFloats() {
    let workers = Workers(count: 3)
    var whole: Matrix? = testMatrix(4, 5, seed: 1, padding: 2)
    let views = whole.map { $0.views(for: workers) } ?? []
    #expect(views.count == 3)
    views[1][2, 3] = 17
    #expect(whole?[2, 3] == 17)
    let before = whole.map(bits)
    whole = nil
    #expect(views.allSatisfy { bits($0) == before })
  }

  @Test func copiesBetweenStrides() {
    let source = testMatrix(3, 7, seed: 1, padding: 2)
    let target = testMatrix(3, 7, seed: 2, padding: 5)
    target.copy(from: source)
    #expect(bits(target) == bits(source))
  }

  @Test func rowsLoadEightsAndTails() {
    let x = testMatrix(1, 13, seed: 3)
    let row = x.row(0)
    let (values, eight, tail) = (x.values, row.load8(5), row.loadTail(8, filler: 9))
    #expect(eight.indices.map { eight[$0] } == Array(values[5..<13]))
    #expect(tail.indices.map { tail[$0] } == Array(values[8..<13]) + [9, 9, 9])
  }

  @Test func partsOfARowShareItsFloats() {
    let x = testMatrix(2, 13, seed: 4)
    let row = x.row(1)
    let part = row.part(3..<7)
    let values = (0..<part.count).map { part[$0] }
    #expect(values == Array(x.values[16..<20]))
    part[0] = 5
    #expect(x[1, 3] == 5)
  }

  @Test func aPartBeyondItsRowTraps() async {
    await #expect(processExitsWith: .failure) {
      let x = Matrix(rows: 2, columns: 12)
      _ = x.row(0).part(5..<13).count
    }
  }

  @Test func aViewBeyondItsBufferTraps() async {
    await #expect(processExitsWith: .failure) {
      _ = FloatBuffer(count: 11).matrix(rows: 3, columns: 4)
    }
  }

  @Test func eightFloatsBeyondARowTrap() async {
    await #expect(processExitsWith: .failure) {
      let x = Matrix(rows: 2, columns: 12)
      _ = x.row(0).load8(5)
    }
  }
}
