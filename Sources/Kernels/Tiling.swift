/// How the outputs of a product are cut into tiles, one sgemm each: by the shape alone, never by the
/// machine, because the tile decides how a sum is rounded.
///
/// Every call packs its panels of both factors anew, which costs as much as `packing` further rows
/// and columns would; fewer, larger tiles pack less. But tiles are handed out whole, and workers
/// that find none left wait: their number should be even. So the tiling is the one of the least
///
///     (1 + packing / tile rows + packing / tile columns) * tiles rounded up to rounds / tiles
///
/// with edges at multiples of 16, the width of the widest kernel, and at most 768 long: beyond, little
/// is gained, many workers find too few tiles, and oneDNN chooses more of its kernels by the distance of
/// rows. Gradients of weights over few rows are another matter: OpenBLAS multiplies a transposed factor
/// without packing where m n k is at most 10^6, and there tiles of that size are up to a quarter faster.
package struct Tiling: Equatable {
  package let rows: Int
  package let columns: Int
  package let tileRows: Int
  package let tileColumns: Int

  /// Fitted to OpenBLAS's kernels for AVX-512, in tiles from 64 by 96 on. Those for AVX2, whose
  /// arithmetic takes longer, lose half as much to packing, and nothing by tiles chosen so.
  private static let packing = 30.0
  /// Tiles at once: two workers. More find as many tiles as the product has multiples of `longest`.
  private static let round = 2
  private static let edge = 16
  private static let longest = 768
  private static let shortest = 64
  private static let unpackedProducts = 1_000_000
  private static let unpackedRows = 128
  private static let unpackedColumns = 128...256

  /// - Parameters:
  ///   - depth: the length of the sums.
  ///   - isTransposed: whether the first factor is read transposed, and the second is not.
  package init(rows: Int, columns: Int, depth: Int, isTransposed: Bool) {
    precondition(rows > 0 && columns > 0 && depth > 0, "a product has outputs and sums")
    (self.rows, self.columns) = (rows, columns)
    let unpacked = Self.unpackedProducts / (Self.unpackedRows * depth) / Self.edge * Self.edge
    if isTransposed && unpacked >= Self.unpackedColumns.lowerBound {
      tileRows = Self.unpackedRows
      tileColumns = min(unpacked, Self.unpackedColumns.upperBound)
      return
    }
    var best = (cost: Double.infinity, rows: 0, columns: 0)
    for tileRows in Self.candidates(rows) {
      for tileColumns in Self.candidates(columns) {
        let cost = Self.cost(rows, columns, tileRows, tileColumns)
        if cost < best.cost { best = (cost, tileRows, tileColumns) }
      }
    }
    (tileRows, tileColumns) = (best.rows, best.columns)
  }

  package var count: Int { down * across }
  private var down: Int { Self.pieces(rows, tileRows) }
  private var across: Int { Self.pieces(columns, tileColumns) }

  package subscript(tile: Int) -> (rows: Range<Int>, columns: Range<Int>) {
    let (row, column) = (tile / across * tileRows, tile % across * tileColumns)
    return (row..<min(rows, row + tileRows), column..<min(columns, column + tileColumns))
  }

  /// Equal lengths into which `length` may be cut: for long ones only the longest, because there
  /// the number of tiles is no concern.
  private static func candidates(_ length: Int) -> [Int] {
    let fewest = pieces(length, longest)
    let most = min(max(fewest, pieces(length, shortest)), fewest + 8)
    return (fewest...most).map { roundUp(pieces(length, $0)) }
  }

  private static func cost(_ rows: Int, _ columns: Int, _ tileRows: Int, _ tileColumns: Int)
    -> Double
  {
    let count = pieces(rows, tileRows) * pieces(columns, tileColumns)
    let idle = Double(pieces(count, round) * round) / Double(count)
    return idle
      * (1 + packing / Double(min(rows, tileRows)) + packing / Double(min(columns, tileColumns)))
  }

  private static func pieces(_ length: Int, _ piece: Int) -> Int { (length + piece - 1) / piece }
  private static func roundUp(_ length: Int) -> Int { pieces(length, edge) * edge }
}
