import COneDNN
import COpenBLAS
import Glibc

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

  /// The best, and where that is not oneDNN, why.
  package static var bestDescription: String {
    let reason =
      switch setting {
      case "openblas": "; PAGODA_PRODUCTS=openblas"
      case let setting?: "; PAGODA_PRODUCTS=\(setting) is unknown and changes nothing"
      case nil: ""
      }
    let absence =
      isOneDNNInstalled ? "" : "; there is no oneDNN, which can be faster (Debian: libdnnl2)"
    return best.description + absence + reason
  }

  private static var isOneDNNInstalled: Bool { unsafe pagoda_onednn_version() != nil }

  /// Those of this machine.
  package static var installed: [ProductLibrary] {
    isOneDNNInstalled ? [.openBLAS, .oneDNN] : [.openBLAS]
  }

  /// Name and version; of OpenBLAS the core, too, that its kernels were chosen for.
  package var description: String {
    switch self {
    case .openBLAS:
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
