package import Base
import PinnedMemory
package import Storage

/// Planes of one block in memory, owned by exactly one holder.
///
/// Ends by `Pager.keep` or `Pager.writeBack`. Dropping it instead loses what was changed; the
/// frames go back to the pager all the same.
@safe package struct Page: ~Copyable {
  package let block: BlockID
  /// What the visit asked for.
  package let planes: PlaneSet
  /// Requested planes that exist nowhere yet, or are to be written anew: their bytes are whatever
  /// the frame held before, and the holder must fill them all.
  package let virgin: PlaneSet
  /// Planes that `spans` vends.
  package let changeable: PlaneSet
  let resident: Resident
  /// It is written as soon as it is given back.
  private let isWrittenSoon: Bool

  init(
    resident: Resident, visit: Visit, virgin: PlaneSet, isWrittenSoon: Bool, isBlank: Bool = false
  ) {
    precondition(!resident.isHeld, "a block has one holder")
    self.isWrittenSoon = isWrittenSoon
    resident.sums = nil
    block = visit.block
    planes = visit.planes
    self.virgin = virgin
    changeable = visit.isUpdate ? visit.planes : virgin
    self.resident = resident
    (resident.isHeld, resident.isBlank) = (true, isBlank)
  }

  deinit {
    if resident.isHeld {
      resident.drop(changeable: changeable, wasUpdating: !changeable.isDisjoint(with: [.m, .v]))
    }
  }

  package var geometry: RecordGeometry { resident.geometry }

  /// The memory node that holds a plane; nil where that is not known to be one. The two frames of a
  /// block may be on two nodes.
  package func node(of plane: Plane) -> Int? { resident.node(of: plane) }

  /// Optimizer updates that this block has had.
  package var updates: Int { resident.history.updates }
  /// The step of the last of them; 0 before the first.
  package var lastStep: Int { resident.history.lastStep }
  /// Tokens that were routed to the block up to then.
  package var tokens: Int { resident.history.tokens }
}

/// The changeable planes of one page, disjoint. Spans of other planes are empty, and so is that of
/// `lo` where the store keeps none.
package struct PageSpans: ~Copyable, ~Escapable {
  /// Upper halves of the weights, as bfloat16 bit patterns.
  package var hi: MutableSpan<UInt16>
  /// Remainders, bit patterns of Int16.
  package var lo: MutableSpan<UInt16>
  /// First moments, as bytes of the precision that the store keeps.
  package var m: MutableSpan<UInt8>
  package var v: MutableSpan<UInt8>
  /// Where threads may take the checksums of what they have changed in these spans for the last time,
  /// while it is in their caches. Nil where it is not written for now.
  package let sums: PieceSums?

  @_lifetime(copy hi, copy lo, copy m, copy v)
  init(
    hi: consuming MutableSpan<UInt16>, lo: consuming MutableSpan<UInt16>,
    m: consuming MutableSpan<UInt8>, v: consuming MutableSpan<UInt8>, sums: PieceSums?
  ) {
    self.sums = sums
    self.hi = hi
    self.lo = lo
    self.m = m
    self.v = v
  }
}

// MARK: Spans

extension Page {
  /// All changeable planes at once.
  package var spans: PageSpans {
    @_lifetime(&self)
    mutating get {
      resident.sums =
        isWrittenSoon && changeable == geometry.planes
        ? PieceSums(of: resident, geometry.planes) : nil
      let spans = unsafe PageSpans(
        hi: MutableSpan(_unsafeElements: changeableElements(.hi)),
        lo: MutableSpan(_unsafeElements: changeableElements(.lo)),
        m: MutableSpan(_unsafeElements: changeableElements(.m)),
        v: MutableSpan(_unsafeElements: changeableElements(.v)), sums: resident.sums)
      return unsafe _overrideLifetime(spans, mutating: &self)
    }
  }

  /// The bytes of a changeable plane, without padding: for content of the holder's own making.
  @_lifetime(&self)
  package mutating func bytes(_ plane: Plane) -> MutableSpan<UInt8> {
    resident.sums = nil
    let span = unsafe MutableSpan(_unsafeElements: changeableElements(plane, of: UInt8.self))
    return unsafe _overrideLifetime(span, mutating: &self)
  }

  /// The bytes of a requested plane, without padding, to read.
  @_lifetime(borrow self)
  package func readBytes(_ plane: Plane) -> Span<UInt8> {
    let span = unsafe Span(_unsafeElements: UnsafeBufferPointer(elements(plane, of: UInt8.self)))
    return unsafe _overrideLifetime(span, borrowing: self)
  }

  /// Upper halves of the weights, to read.
  package var hi: Span<UInt16> {
    @_lifetime(borrow self)
    get {
      let span = unsafe Span(_unsafeElements: UnsafeBufferPointer(elements(.hi, of: UInt16.self)))
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// Remainders of the weights, to read; none where the store keeps none.
  package var lo: Span<UInt16> {
    @_lifetime(borrow self)
    get {
      let span = unsafe Span(_unsafeElements: UnsafeBufferPointer(elements(.lo, of: UInt16.self)))
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// First moments, to read, as bytes of the precision that the store keeps.
  package var m: Span<UInt8> {
    @_lifetime(borrow self)
    get {
      let span = unsafe Span(_unsafeElements: UnsafeBufferPointer(elements(.m, of: UInt8.self)))
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// Second moments, to read, as bytes of the precision that the store keeps.
  package var v: Span<UInt8> {
    @_lifetime(borrow self)
    get {
      let span = unsafe Span(_unsafeElements: UnsafeBufferPointer(elements(.v, of: UInt8.self)))
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The elements of a requested plane, without padding.
  private func elements<Element: BitwiseCopyable>(
    _ plane: Plane, of type: Element.Type
  ) -> UnsafeMutableBufferPointer<Element> {
    guard resident.geometry.planes.contains(plane) else {
      return unsafe UnsafeMutableBufferPointer(start: nil, count: 0)
    }
    precondition(planes.contains(plane), "the visit asked for the plane")
    let memory = resident.memory(of: plane)
    let count = resident.geometry.contentBytes[plane] / MemoryLayout<Element>.stride
    return unsafe UnsafeMutableBufferPointer(
      start: memory.address.assumingMemoryBound(to: Element.self), count: count)
  }

  private func changeableElements<Element: BitwiseCopyable>(
    _ plane: Plane, of type: Element.Type = Element.self
  ) -> UnsafeMutableBufferPointer<Element> {
    guard changeable.contains(plane) else {
      return unsafe UnsafeMutableBufferPointer(start: nil, count: 0)
    }
    return unsafe elements(plane, of: Element.self)
  }
}
