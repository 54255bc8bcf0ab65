import Base
import PinnedMemory
import Testing

@Suite struct FramePoolTests {
  private func pool(frames: Int) throws -> FramePool {
    try FramePool(
      name: "test", frameCount: frames, frameBytes: 8192, ledger: MemoryLedger(ceiling: 1 << 20))
  }

  private struct PoolIsEmpty: Error {}

  private func take(from pool: FramePool) throws -> Frame {
    guard let frame = pool.take() else { throw PoolIsEmpty() }
    return frame
  }

  /// Every frame is given once, apart from all others, and none when all are out.
  @Test func framesAreDisjoint() throws {
    let pool = try pool(frames: 3)
    let first = try take(from: pool)
    let second = try take(from: pool)
    let third = try take(from: pool)
    #expect(throws: PoolIsEmpty.self) { _ = try take(from: pool) }
    #expect(pool.freeCount == 0)
    let starts = [first.memory, second.memory, third.memory].map {
      unsafe Int(bitPattern: $0.address)
    }.sorted()
    #expect(starts[1] - starts[0] == 8192 && starts[2] - starts[1] == 8192)
    #expect(first.memory.byteCount == 8192)
    #expect(unsafe Int(bitPattern: pool.memory[0].address) == starts[0])
  }

  /// Two shares of one tier are given out in turn, a slower tier last.
  @Test func framesComeFromEachShareInTurn() throws {
    let pool = try FramePool(
      name: "test",
      shares: [
        FrameShare(.anywhere, frames: 4), FrameShare(.anywhere, frames: 2),
        FrameShare(.anywhere, frames: 1, tier: 1),
      ], frameBytes: 4096, ledger: MemoryLedger(ceiling: 1 << 20))
    #expect(pool.frameCount == 7 && pool.byteCount == 7 * 4096)
    var shares: [Int] = []
    func drain() {
      guard let frame = pool.take() else { return }
      let address = unsafe frame.memory.address
      shares.append(
        pool.memory.firstIndex {
          unsafe $0.address <= address && address < $0.address + $0.byteCount
        } ?? -1)
      drain()
    }
    drain()
    #expect(shares == [0, 1, 0, 0, 1, 0, 2])
    #expect(pool.freeCount == 7)
  }

  @Test func aDroppedFrameIsFree() throws {
    let pool = try pool(frames: 1)
    for _ in 0..<3 {
      let frame = try take(from: pool)
      #expect(pool.freeCount == 0)
      _ = consume frame
      #expect(pool.freeCount == 1)
    }
  }

  @Test func slicesLieInTheFrame() throws {
    let pool = try pool(frames: 2)
    let frame = try take(from: pool)
    let slice = frame.slice(offset: 4096, byteCount: 4096)
    let distance = unsafe slice.address - frame.memory.address
    #expect(distance == 4096)
    #expect(slice.byteCount == 4096)
  }

  @Test func aSliceBeyondTheFrameIsABug() async {
    await #expect(processExitsWith: .failure) {
      let pool = try FramePool(
        name: "test", frameCount: 2, frameBytes: 4096, ledger: MemoryLedger(ceiling: 1 << 20))
      _ = pool.take()!.slice(offset: 4096, byteCount: 4096)
    }
  }
}
