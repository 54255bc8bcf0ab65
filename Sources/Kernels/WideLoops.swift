import Glibc

/// The loops of `Loops` that are bound by arithmetic, compiled a second time for AVX-512: in a
/// library of their own, which is opened where the processor can run it. The same bits either way,
/// since every element is computed by the same operations and sums are made in the same order.
///
/// A library, and not a second module in the program: Swift emits helpers whose names do not tell
/// modules apart, and the linker would keep either copy of them. Nothing of a library that is not
/// opened can run on a processor without AVX-512.
///
/// @unchecked Sendable: addresses of functions, which stay loaded.
@safe package struct WideLoops: @unchecked Sendable {
  private typealias Floats = UnsafeMutablePointer<Float>
  private typealias Exponentiate = @convention(c) (Floats, Int, Float) -> Void
  private typealias Forward = @convention(c) (Int32, Floats, Int) -> Void
  private typealias ForwardGated = @convention(c) (Int32, Floats, Floats, Int) -> Void
  private typealias Backward = @convention(c) (Int32, Floats, Floats, Int, Float) -> Float
  private typealias BackwardGated =
    @convention(c) (Int32, Floats, Floats, Floats, Int, Float) -> Float

  private let exponentiate: Exponentiate
  private let forward: Forward
  private let forwardGated: ForwardGated
  private let backward: Backward
  private let backwardGated: BackwardGated

  /// What the kernels of this process use; nil: the loops as they are compiled for every processor.
  package static let chosen = isTurnedOff ? nil : available

  /// nil where the processor lacks the instructions, or the library does not lie beside the program.
  package static let available = processorIsWide ? WideLoops(library: libraryPath) : nil

  /// `PAGODA_VECTORS=avx2` leaves them out.
  private static var isTurnedOff: Bool {
    guard let value = unsafe getenv("PAGODA_VECTORS") else { return false }
    return unsafe strcmp(value, "avx2") == 0
  }

  private init?(library path: String) {
    guard let library = unsafe dlopen(path, RTLD_NOW | RTLD_LOCAL),
      let exponentiate = unsafe dlsym(library, "pagoda_wide_exponentiate"),
      let forward = unsafe dlsym(library, "pagoda_wide_forward"),
      let forwardGated = unsafe dlsym(library, "pagoda_wide_forward_gated"),
      let backward = unsafe dlsym(library, "pagoda_wide_backward"),
      let backwardGated = unsafe dlsym(library, "pagoda_wide_backward_gated")
    else { return nil }
    unsafe self.exponentiate = unsafeBitCast(exponentiate, to: Exponentiate.self)
    unsafe self.forward = unsafeBitCast(forward, to: Forward.self)
    unsafe self.forwardGated = unsafeBitCast(forwardGated, to: ForwardGated.self)
    unsafe self.backward = unsafeBitCast(backward, to: Backward.self)
    unsafe self.backwardGated = unsafeBitCast(backwardGated, to: BackwardGated.self)
  }
}

// MARK: The loops

extension WideLoops {
  /// As `loopExponentiate`.
  package func exponentiate(_ x: borrowing Row, minus offset: Float) {
    unsafe exponentiate(x.base, x.count, offset)
  }

  /// As `Activation.loopForward`, and so on.
  package func forward(_ activation: Activation, _ x: borrowing Row) {
    unsafe forward(activation.number, x.base, x.count)
  }

  package func forward(_ activation: Activation, gate: borrowing Row, up: borrowing Row) {
    precondition(gate.count == up.count, "rows of one length")
    unsafe forwardGated(activation.number, gate.base, up.base, gate.count)
  }

  package func backward(
    _ activation: Activation, _ x: borrowing Row, _ dy: borrowing Row, weight: Float
  ) -> Float {
    precondition(x.count == dy.count, "rows of one length")
    return unsafe backward(activation.number, x.base, dy.base, x.count, weight)
  }

  package func backward(
    _ activation: Activation, gate: borrowing Row, up: borrowing Row, _ dy: borrowing Row,
    weight: Float
  ) -> Float {
    precondition(gate.count == up.count, "a row of one length")
    precondition(gate.count == dy.count, "rows of one length")
    return unsafe backwardGated(
      activation.number, gate.base, up.base, dy.base, gate.count, weight)
  }
}

// MARK: Where they are

extension WideLoops {
  /// In the directory of the program.
  private static var libraryPath: String {
    let capacity = Int(PATH_MAX)
    let program = unsafe String(unsafeUninitializedCapacity: capacity) { bytes in
      unsafe bytes.withMemoryRebound(to: CChar.self) { path in
        unsafe max(0, readlink("/proc/self/exe", path.baseAddress!, capacity))
      }
    }
    let directory = program[..<(program.lastIndex(of: "/") ?? program.startIndex)]
    return directory + "/libPagodaWide.so"
  }

  /// Whether all that x86-64-v4 adds to the AVX2 of the other kernels is there, as the kernel says,
  /// who also keeps the registers.
  package static var processorIsWide: Bool {
    let needed: Set<Substring> = ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]
    let line = beginningOfProcessors.split(separator: "\n").first { $0.hasPrefix("flags") }
    return line.map { needed.isSubset(of: $0.split(separator: " ")) } ?? false
  }

  /// Enough of `/proc/cpuinfo` for all of the first processor.
  private static var beginningOfProcessors: String {
    let descriptor = unsafe open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    return unsafe String(unsafeUninitializedCapacity: 16384) { bytes in
      var count = 0
      while count < bytes.count {
        let got = unsafe read(descriptor, bytes.baseAddress! + count, bytes.count - count)
        guard got > 0 else { break }
        count += got
      }
      return count
    }
  }
}
