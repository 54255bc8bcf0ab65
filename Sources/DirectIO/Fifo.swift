/// First in, first out, with constant cost per element: an array and the index of its head.
struct Fifo<Element> {
  private var elements: [Element] = []
  private var head = 0

  var count: Int { elements.count - head }
  var isEmpty: Bool { count == 0 }

  mutating func append(_ element: Element) { elements.append(element) }

  mutating func popFirst() -> Element? {
    guard head < elements.count else { return nil }
    let element = elements[head]
    head += 1
    // Moving the rest forward once half is spent keeps the cost constant and lets go of the spent.
    if head * 2 >= elements.count {
      elements.removeFirst(head)
      head = 0
    }
    return element
  }

  /// Takes out all that match, in their order.
  mutating func removeAll(where matches: (Element) -> Bool) -> [Element] {
    let waiting = elements[head...]
    let removed = waiting.filter(matches)
    guard !removed.isEmpty else { return [] }
    elements = waiting.filter { !matches($0) }
    head = 0
    return removed
  }
}
