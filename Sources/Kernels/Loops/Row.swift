/// A borrowed run of floats: what kernels loop over. It cannot outlive the matrix it was taken
/// from, and every access is checked. Like the view it comes from, it writes through `let`.
@safe @usableFromInline package struct Row: ~Escapable {
  @usableFromInline let base: UnsafeMutablePointer<Float>
  @usableFromInline package let count: Int

  @inlinable
  @_lifetime(immortal)
  init(base: UnsafeMutablePointer<Float>, count: Int) {
    unsafe self.base = base
    self.count = count
  }

  @inlinable
  package subscript(index: Int) -> Float {
    get {
      precondition(index >= 0 && index < count, "index inside the row")
      return unsafe base[index]
    }
    nonmutating set {
      precondition(index >= 0 && index < count, "index inside the row")
      unsafe base[index] = newValue
    }
  }

  /// Some of the floats, as a row of their own.
  @inlinable
  @_lifetime(copy self)
  package func part(_ range: Range<Int>) -> Row {
    precondition(range.lowerBound >= 0, "the part starts inside the row")
    precondition(range.upperBound <= count, "the part ends inside the row")
    let part = unsafe Row(base: base + range.lowerBound, count: range.count)
    return unsafe _overrideLifetime(part, copying: self)
  }

  /// Eight floats from `index` on.
  @inlinable
  package func load8(_ index: Int) -> SIMD8<Float> {
    precondition(index >= 0 && index &+ 8 <= count, "eight floats inside the row")
    return unsafe UnsafeRawPointer(base + index).loadUnaligned(as: SIMD8<Float>.self)
  }

  /// The floats from `index` to the end, fewer than eight; the other lanes are `filler`.
  @inlinable
  package func loadTail(_ index: Int, filler: Float) -> SIMD8<Float> {
    precondition(index >= 0 && count &- index < 8, "fewer than eight floats are left")
    var value = SIMD8<Float>(repeating: filler)
    for lane in 0..<max(0, count &- index) { value[lane] = unsafe base[index &+ lane] }
    return value
  }
}
