import COneDNN
import COpenBLAS
import Glibc

/// Products cannot be computed on this machine.
package struct NoProductLibrary: Error, CustomStringConvertible {
  package let cause: String

  package var description: String {
    "no library to multiply matrices with: \(cause); install OpenBLAS (Debian: libopenblas0)"
  }
}

/// The library whose sgemm multiplies a tile, on the thread that calls.
package enum ProductLibrary: Sendable {
  case openBLAS
  case oneDNN

  /// oneDNN where it is installed: with AVX-512 it is a tenth to a quarter faster than OpenBLAS at an
  /// expert's products with 64 tokens, a twentieth to a tenth at 256, because it packs less. The two
  /// round differently: `PAGODA_PRODUCTS=openblas` is for the bits of a machine without it.
  package static let best: ProductLibrary =
    isOneDNNInstalled && setting != "openblas" ? .oneDNN : .openBLAS

  private static var setting: String? {
    guard let value = unsafe getenv("PAGODA_PRODUCTS") else { return nil }
    let text = unsafe String(cString: value)
    return text.isEmpty ? nil : text
  }

  /// The best, and what the environment has to do with it.
  package static var bestDescription: String {
    switch setting {
    case "openblas"?: best.description + "; PAGODA_PRODUCTS=openblas"
    case let setting?:
      best.description + "; PAGODA_PRODUCTS=\(setting) is unknown and changes nothing"
    case nil: best.description
    }
  }

  /// Why oneDNN is not used though nobody has turned it off; nil where it is.
  package static var degradation: String? {
    guard setting != "openblas", let why = unsafe pagoda_onednn_refusal() else { return nil }
    return unsafe "oneDNN, which can be faster, is not used: " + String(cString: why)
  }

  /// - Throws: `NoProductLibrary` where there is none to multiply with: to be asked before anything is
  ///   begun, because a product cannot fail.
  package static func requireOne() throws(NoProductLibrary) {
    guard best == .openBLAS, let cause = openBLASFailure else { return }
    let other = degradation ?? "PAGODA_PRODUCTS=openblas leaves oneDNN out"
    throw NoProductLibrary(cause: "\(cause); \(other)")
  }

  private static var isOneDNNInstalled: Bool { unsafe pagoda_onednn_refusal() == nil }

  private static var openBLASFailure: String? {
    guard let cause = unsafe pagoda_blas_failure() else { return nil }
    return unsafe String(cString: cause)
  }

  /// Those of this machine.
  package static var installed: [ProductLibrary] {
    (openBLASFailure == nil ? [.openBLAS] : []) + (isOneDNNInstalled ? [.oneDNN] : [])
  }

  /// Name, version, and what the kernels are for: products by two libraries of one description have
  /// the same bits.
  package var description: String {
    switch self {
    case .openBLAS:
      if let cause = Self.openBLASFailure { return "none: \(cause)" }
      // Between version and core it names a core of its own finding, which need not be the one whose
      // kernels it uses.
      let options = unsafe String(cString: pagoda_blas_config()).split(separator: " ").prefix(2)
      return unsafe options.joined(separator: " ") + ", kernels for "
        + String(cString: pagoda_blas_core())
    case .oneDNN:
      return unsafe "oneDNN " + String(cString: pagoda_onednn_version())
    }
  }

  /// c = scale * op(a) op(b), plus c if it accumulates; shapes as in `matmul`.
  func multiply(
    _ a: Matrix, _ transposeA: Bool, _ b: Matrix, _ transposeB: Bool, into c: Matrix,
    _ scale: Float, _ accumulate: Bool
  ) {
    let (m, n) = (Int32(c.rows), Int32(c.columns))
    let k = Int32(transposeA ? a.rows : a.columns)
    let keep: Float = accumulate ? 1 : 0
    switch self {
    case .openBLAS:
      unsafe pagoda_sgemm(
        transposeA, transposeB, m, n, k, scale, a.pointer, Int32(a.stride), b.pointer,
        Int32(b.stride), keep, c.pointer, Int32(c.stride))
    case .oneDNN:
      unsafe pagoda_onednn_sgemm(
        transposeA, transposeB, m, n, k, scale, a.pointer, Int32(a.stride), b.pointer,
        Int32(b.stride), keep, c.pointer, Int32(c.stride))
    }
  }
}
