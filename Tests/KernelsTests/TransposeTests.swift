import Kernels
import Testing

@Suite struct TransposeTests {
  @Test(arguments: [(1, 1), (3, 5), (16, 7), (33, 16), (0, 4), (17, 1)])
  func rowsBecomeColumns(_ rows: Int, _ columns: Int) {
    let source = Matrix(rows: rows, columns: columns)
    source.assign((0..<rows * columns).map { Float($0) })
    let target = Matrix(rows: columns, columns: rows)
    target.fill(-1)
    transpose(source, into: target)
    for i in 0..<rows {
      for j in 0..<columns { #expect(target[j, i] == source[i, j]) }
    }
    #expect(!target.values.contains(-1))
  }

  @Test func viewsLeaveTheirSurroundingsAlone() {
    let source = Matrix(rows: 4, columns: 6)
    source.assign((0..<24).map { Float($0) })
    let target = Matrix(rows: 5, columns: 9)
    target.fill(-1)
    transpose(source.columns(1..<4), into: target.rows(1..<4).columns(2..<6))
    #expect(target[1, 2] == 1 && target[3, 5] == 21)
    #expect(target.values.filter { $0 == -1 }.count == 45 - 12)
  }
}
