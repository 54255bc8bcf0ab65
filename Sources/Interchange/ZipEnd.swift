/// The end of a zip file: where its directory is.
struct ZipEnd: Sendable {
  let directory: Range<Int>
  let entryCount: Int

  private static let recordBytes = 22
  private static let locatorBytes = 20
  private static let record64Bytes = 56
  private static let commentBytesMax = 0xFFFF

  init(_ file: InputFile) throws(InterchangeError) {
    let tailBytes = min(
      file.byteCount,
      Self.recordBytes + Self.commentBytesMax + Self.locatorBytes + Self.record64Bytes)
    let tailStart = file.byteCount - tailBytes
    let tail = try file.bytes(tailStart..<file.byteCount)
    guard let record = Self.findRecord(tail) else {
      throw .malformed(
        path: file.path, offset: tailStart,
        cause: "no end of a zip file; it may have been cut short")
    }
    do throws(FormatDefect) {
      let small = try Self.numbers(tail, at: record)
      let large = try Self.large(tail, before: record, tailStart: tailStart)
      let end = tailStart + (large?.record ?? record)
      try self.init(small, large?.numbers, at: record, end: end, tailStart: tailStart)
    } catch {
      throw InterchangeError(error.moved(by: tailStart), file.path)
    }
  }

  /// Count of entries, bytes and start of the directory.
  private typealias Numbers = (entryCount: UInt64, byteCount: UInt64, start: UInt64)

  /// - Parameter end: of the directory, in the file.
  private init(
    _ small: Numbers, _ large: Numbers?, at record: Int, end: Int, tailStart: Int
  ) throws(FormatDefect) {
    let numbers = large ?? small
    if large != nil {
      let pairs = [
        (small.entryCount, numbers.entryCount, UInt64(0xFFFF)),
        (small.byteCount, numbers.byteCount, 0xFFFF_FFFF),
        (small.start, numbers.start, 0xFFFF_FFFF),
      ]
      guard pairs.allSatisfy({ $0.0 == $0.1 || $0.0 == $0.2 }) else {
        throw FormatDefect(offset: record, cause: "two ends of a zip file that do not agree")
      }
    }
    guard let start = Int(exactly: numbers.start), let byteCount = Int(exactly: numbers.byteCount),
      let entryCount = Int(exactly: numbers.entryCount), start <= end, byteCount == end - start
    else {
      throw FormatDefect(
        offset: record,
        cause: "a directory of \(numbers.byteCount) bytes at \(numbers.start), which does not end "
          + "where the end of the file starts, at \(end)")
    }
    directory = start..<end
    self.entryCount = entryCount
  }

  /// The place in `tail` of the last record that says itself where it ends.
  private static func findRecord(_ tail: [UInt8]) -> Int? {
    guard tail.count >= recordBytes else { return nil }
    return (0...tail.count - recordBytes).last { offset in
      tail.natural(at: offset, byteCount: 4) == 0x0605_4B50
        && tail.natural(at: offset + 20, byteCount: 2) == tail.count - recordBytes - offset
    }
  }

  private static func numbers(_ tail: [UInt8], at record: Int) throws(FormatDefect) -> Numbers {
    let disks = [4, 6].map { tail.natural(at: record + $0, byteCount: 2) }
    let counts = [8, 10].map { tail.natural(at: record + $0, byteCount: 2) }
    guard disks == [0, 0], counts[0] == counts[1] else {
      throw FormatDefect(offset: record, cause: "a zip file of several parts")
    }
    return (
      UInt64(counts[0]), UInt64(tail.natural(at: record + 12, byteCount: 4)),
      UInt64(tail.natural(at: record + 16, byteCount: 4))
    )
  }

  /// The 64-bit record, if a locator leads to one; it lies right before its locator.
  private static func large(
    _ tail: [UInt8], before end: Int, tailStart: Int
  ) throws(FormatDefect) -> (record: Int, numbers: Numbers)? {
    let locator = end - locatorBytes
    guard locator >= 0, tail.natural(at: locator, byteCount: 4) == 0x0706_4B50 else { return nil }
    let record = locator - record64Bytes
    guard record >= 0, tail.natural(at: record, byteCount: 4) == 0x0606_4B50,
      tail.littleEndian(at: locator + 8, byteCount: 8) == UInt64(tailStart + record),
      tail.littleEndian(at: record + 4, byteCount: 8) == UInt64(record64Bytes - 12)
    else { throw FormatDefect(offset: locator, cause: "no 64-bit end of a zip file before this") }
    let disks = [record + 16, record + 20, locator + 4].map { tail.natural(at: $0, byteCount: 4) }
    let numbers = [24, 32, 40, 48].map { tail.littleEndian(at: record + $0, byteCount: 8) ?? 0 }
    guard disks == [0, 0, 0], numbers[0] == numbers[1] else {
      throw FormatDefect(offset: record, cause: "a zip file of several parts")
    }
    return (record, (numbers[0], numbers[2], numbers[3]))
  }
}
