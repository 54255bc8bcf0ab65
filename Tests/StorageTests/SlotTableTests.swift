import Storage
import Testing

@Suite struct SlotTableTests {
  /// Paths fill in proportion: after any number of slots, shares differ by less than one slot each.
  @Test func pathsFillInProportion() throws {
    var table = SlotTable(slots: [10, 20, 30])
    var taken = [0, 0, 0]
    for count in 1...60 {
      let next = table.take()
      let slot = try #require(next)
      #expect(slot.index == taken[slot.path])
      taken[slot.path] += 1
      for (path, slots) in [10, 20, 30].enumerated() {
        #expect(abs(Double(taken[path]) - Double(count * slots) / 60) <= 1)
      }
    }
    let beyond = table.take()
    #expect(beyond == nil && table.freeCount == 0)
  }

  @Test func returnedSlotsAreTakenAgain() throws {
    var table = SlotTable(slots: [2])
    let taken = [table.take(), table.take()]
    #expect(taken == [Slot(path: 0, index: 0), Slot(path: 0, index: 1)])
    table.putBack(Slot(path: 0, index: 0))
    let again = table.take()
    #expect(again == Slot(path: 0, index: 0) && table.freeCount == 0)
    table.putBack(Slot(path: 0, index: 1))
    #expect(table.freeCount == 1)
  }

  @Test func knowsWhatIsUsed() throws {
    let used = [Slot(path: 0, index: 3), Slot(path: 1, index: 0), Slot(path: 0, index: 1)]
    var table = try #require(SlotTable(slots: [5, 2], used: used))
    var rest: Set<Slot> = []
    while let slot = table.take() { rest.insert(slot) }
    let all = (0..<5).map { Slot(path: 0, index: $0) } + (0..<2).map { Slot(path: 1, index: $0) }
    #expect(rest == Set(all).subtracting(used))
  }

  /// A file can claim any number of slots: what is not used takes neither time nor memory.
  @Test func manySlotsCostNothing() throws {
    let count = 1 << 40
    var table = try #require(
      SlotTable(slots: [count, count], used: [Slot(path: 1, index: count - 1)]))
    #expect(table.freeCount == 2 * count - 1)
    let slots = [table.take(), table.take(), table.take()]
    #expect(
      slots == [Slot(path: 0, index: 0), Slot(path: 0, index: 1), Slot(path: 1, index: 0)])
    table.putBack(Slot(path: 1, index: count - 1))
    #expect(table.freeCount == 2 * count - 3)
  }

  @Test(arguments: [
    [Slot(path: 0, index: 2)], [Slot(path: 1, index: 0)], [Slot(path: 0, index: -1)],
    [Slot(path: 0, index: 1), Slot(path: 0, index: 1)],
  ])
  func refusesImpossibleUse(used: [Slot]) {
    #expect(SlotTable(slots: [2], used: used) == nil)
  }
}
