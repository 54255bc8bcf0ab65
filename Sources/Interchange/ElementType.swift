/// The types of elements of a tensor in a file that fill whole bytes, under the names that
/// safetensors gives them.
package enum ElementType: String, CaseIterable, Sendable {
  case bool = "BOOL"
  case u8 = "U8"
  case i8 = "I8"
  case f8e5m2 = "F8_E5M2"
  case f8e4m3 = "F8_E4M3"
  case u16 = "U16"
  case i16 = "I16"
  case f16 = "F16"
  case bf16 = "BF16"
  case u32 = "U32"
  case i32 = "I32"
  case f32 = "F32"
  case u64 = "U64"
  case i64 = "I64"
  case f64 = "F64"

  package var byteCount: Int {
    switch self {
    case .bool, .u8, .i8, .f8e5m2, .f8e4m3: 1
    case .u16, .i16, .f16, .bf16: 2
    case .u32, .i32, .f32: 4
    case .u64, .i64, .f64: 8
    }
  }

  /// Bytes of a tensor of `shape`; nil when a dimension is negative or the product passes `Int`.
  package func byteCount(shape: [Int]) -> Int? {
    var product = byteCount
    for dimension in shape {
      let (next, overflow) = product.multipliedReportingOverflow(by: dimension)
      guard dimension >= 0, !overflow else { return nil }
      product = next
    }
    return product
  }

  /// The name that PyTorch and `config.json` have for it.
  package var torchName: String {
    switch self {
    case .bool: "bool"
    case .u8: "uint8"
    case .i8: "int8"
    case .f8e5m2: "float8_e5m2"
    case .f8e4m3: "float8_e4m3fn"
    case .u16: "uint16"
    case .i16: "int16"
    case .f16: "float16"
    case .bf16: "bfloat16"
    case .u32: "uint32"
    case .i32: "int32"
    case .f32: "float32"
    case .u64: "uint64"
    case .i64: "int64"
    case .f64: "float64"
    }
  }

  package init?(torchName: String) {
    guard let type = Self.allCases.first(where: { $0.torchName == torchName }) else { return nil }
    self = type
  }

  /// Whether `widen` takes it.
  package var isFloat: Bool { [.f16, .bf16, .f32, .f64].contains(self) }

  /// Writes the numbers of `source` as floats into `target`: as they are, or, from float64, the
  /// nearest float, halves to even, and infinity for what is too large.
  /// - Parameters:
  ///   - source: so many elements of this type as `target` has.
  ///   - isSwapped: whether the bytes of each come most significant first.
  package func widen(
    _ source: RawSpan, isSwapped: Bool = false, into target: inout MutableSpan<Float>
  ) {
    precondition(source.byteCount == target.count * byteCount, "as many elements as floats")
    switch self {
    case .f32:
      convert(source, UInt32.self, isSwapped, into: &target) { Float(bitPattern: $0) }
    case .f16:
      convert(source, UInt16.self, isSwapped, into: &target) { Float(Float16(bitPattern: $0)) }
    case .bf16:
      convert(source, UInt16.self, isSwapped, into: &target) {
        Float(bitPattern: UInt32($0) << 16)
      }
    case .f64:
      convert(source, UInt64.self, isSwapped, into: &target) { Float(Double(bitPattern: $0)) }
    case .bool, .u8, .i8, .f8e5m2, .f8e4m3, .u16, .i16, .u32, .i32, .u64, .i64:
      preconditionFailure("\(rawValue) is no type of floats")
    }
  }
}

@inline(__always)
private func convert<Bits: FixedWidthInteger & BitwiseCopyable>(
  _ source: RawSpan, _ type: Bits.Type, _ isSwapped: Bool, into target: inout MutableSpan<Float>,
  _ float: (Bits) -> Float
) {
  let stride = MemoryLayout<Bits>.size
  for i in 0..<target.count {
    let bits = unsafe source.unsafeLoadUnaligned(fromByteOffset: i * stride, as: type)
    target[i] = float(isSwapped ? Bits(bigEndian: bits) : Bits(littleEndian: bits))
  }
}
