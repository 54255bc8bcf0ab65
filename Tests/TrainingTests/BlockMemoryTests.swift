import Kernels
import Testing
import Training

@Suite struct BlockMemoryTests {
  /// Goal: a block that is given memory has zeros if those before it left zeros, whatever the order; one
  /// that has some keeps it; its own comes back as it was.
  @Test(arguments: [1 << 20, (1 << 20) + 700]) func memoryGoesFromBlockToBlock(size: Int) {
    let workers = Workers(count: 2)
    let buffer = FloatBuffer(count: 7 * size)
    buffer.keepSmallPages()
    var memory = BlockMemory()
    func range(_ block: Int) -> Range<Int> { block * size..<(block + 1) * size }
    func row(_ block: Int) -> Matrix {
      buffer.matrix(rows: 1, columns: size, offset: block * size)
    }
    var held: [Int: Float] = [:]
    for turn in 1...60 {
      let block = (turn * 5 + turn / 3) % 7
      if let value = held[block] {
        // A second time is none.
        memory.give(to: range(block), of: buffer, on: workers)
        #expect(row(block).values.allSatisfy { $0 == value })
        buffer.clear(range(block), on: workers)
        memory.take(range(block))
        held[block] = nil
      } else if held.count < 3 {
        memory.give(to: range(block), of: buffer, on: workers)
        #expect(row(block).values.allSatisfy { $0 == 0 })
        held[block] = Float(turn)
        row(block).fill(Float(turn))
      }
    }
    for (block, value) in held { #expect(row(block).values.allSatisfy { $0 == value }) }
  }
}
