import Base
import Glibc

/// The loops of `Loops` that are bound by arithmetic, compiled a second time for AVX-512: in a
/// library of their own, which is opened where the processor can run it. The same bits either way,
/// since every element is computed by the same operations and sums are made in the same order; but
/// for the sign of a NaN, which is the compiler's choice.
///
/// A library, and not a second module in the program: Swift emits helpers whose names do not tell
/// modules apart, and the linker would keep either copy of them. Nothing of a library that is not
/// opened can run on a processor without AVX-512.
///
/// @unchecked Sendable: addresses of functions, which stay loaded.
@safe package struct WideLoops: LoopSet, @unchecked Sendable {
  /// Why kernels make do with the vectors that every processor has.
  package enum Absence: Error, Equatable, Sendable {
    case turnedOff
    case processor
    /// No library beside the program, or none that can be opened.
    case library(String)
    /// A library of other sources, whose bits may be others.
    case otherBuild(path: String)
  }

  /// What the kernels of this process use; nil: the loops as they are compiled for every processor.
  package static let chosen: WideLoops? = try? choice.get()
  /// The same, with the reason. `PAGODA_VECTORS=avx2` leaves wide loops out.
  package static let choice: Result<WideLoops, Absence> =
    isTurnedOff ? .failure(.turnedOff) : available
  /// What there is to choose.
  package static let available: Result<WideLoops, Absence> =
    processorIsWide
    ? Result { () throws(Absence) in try WideLoops(path: libraryPath) }
    : .failure(.processor)

  private static var isTurnedOff: Bool { setting == "avx2" }

  /// `PAGODA_VECTORS`, if it is set to anything.
  fileprivate static var setting: String? {
    guard let value = unsafe getenv("PAGODA_VECTORS") else { return nil }
    let text = unsafe String(cString: value)
    return text.isEmpty ? nil : text
  }

  // As `WideKernels` exports them. What is at an address that has no type is told there.
  private typealias Floats = UnsafeMutablePointer<Float>
  private typealias Numbers = UnsafeMutablePointer<UInt16>
  private typealias Codes = UnsafeMutablePointer<UInt8>
  private typealias Fixed = UnsafeRawPointer

  private let exponentiate: @convention(c) (Floats, Int, Float) -> Void
  private let forward: @convention(c) (Int32, Floats, Int) -> Void
  private let forwardGated: @convention(c) (Int32, Floats, Floats, Int) -> Void
  private let backward: @convention(c) (Int32, Floats, Floats, Int, Float) -> Float
  private let backwardGated: @convention(c) (Int32, Floats, Floats, Floats, Int, Float) -> Float
  private let fill: @convention(c) (Fixed, Numbers, UInt32, UInt32, Int) -> Void
  private let advanceCodes:
    @convention(c) (Int32, Fixed, Codes, Floats, Floats, Numbers, Floats, Int) -> Void
  private let move: @convention(c) (Fixed, Numbers, Numbers, Floats, Floats, Int) -> Void
  private let moveRounded: @convention(c) (Fixed, Numbers, Floats, Floats, Numbers, Int) -> Void
  private let update: @convention(c) (Fixed, Numbers, Numbers, Floats, Floats, Floats, Int) -> Void

  /// Opens the library at `path`, for good: Swift cannot close one.
  package init(path: String) throws(Absence) {
    guard let library = unsafe dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
      throw .library(unsafe String(cString: dlerror()))
    }
    let interface: @convention(c) () -> UInt32
    unsafe interface = try Self.function("interface", library, path)
    guard interface() == loopInterface else { throw .otherBuild(path: path) }
    unsafe exponentiate = try Self.function("exponentiate", library, path)
    unsafe forward = try Self.function("forward", library, path)
    unsafe forwardGated = try Self.function("forward_gated", library, path)
    unsafe backward = try Self.function("backward", library, path)
    unsafe backwardGated = try Self.function("backward_gated", library, path)
    unsafe fill = try Self.function("fill", library, path)
    unsafe advanceCodes = try Self.function("advance_codes", library, path)
    unsafe move = try Self.function("move", library, path)
    unsafe moveRounded = try Self.function("move_rounded", library, path)
    unsafe update = try Self.function("update", library, path)
    // Through the same calls as everything later, so that it sees how records are handed over.
    guard LoopDigest(self).value == LoopDigest(PlainLoops()).value else {
      throw .otherBuild(path: path)
    }
  }

  /// - Parameter Function: its type, as a function of C.
  @unsafe private static func function<Function>(
    _ name: String, _ library: UnsafeMutableRawPointer, _ path: String
  ) throws(Absence) -> Function {
    guard let address = unsafe dlsym(library, "pagoda_wide_" + name) else {
      throw .otherBuild(path: path)
    }
    return unsafe unsafeBitCast(address, to: Function.self)
  }
}

extension WideLoops.Absence: CustomStringConvertible {
  package var description: String {
    switch self {
    case .turnedOff: "PAGODA_VECTORS=avx2"
    case .processor: "the processor has no AVX-512"
    case .library(let problem): problem
    case .otherBuild(let path): "\(path) is of another build; `swift build -c release` makes both"
    }
  }
}

/// The vectors of the loops that have a choice, and where they are the narrower ones, why.
package func vectorsDescription() -> String {
  let vectors =
    switch WideLoops.choice {
    case .success: "AVX-512"
    case .failure(let absence): "AVX2: \(absence)"
    }
  return vectors + (settingNote().map { "; \($0)" } ?? "")
}

/// What to tell who computes: that the vectors are not those that the processor has or the environment
/// seems to ask for.
package func vectorsNotes() -> [String] {
  var notes = [settingNote()].compactMap(\.self)
  switch WideLoops.choice {
  case .failure(let absence) where absence != .turnedOff && absence != .processor:
    notes.append("the processor has AVX-512, which is not used: \(absence)")
  default: break
  }
  return notes
}

private func settingNote() -> String? {
  guard let setting = WideLoops.setting, setting != "avx2" else { return nil }
  return "PAGODA_VECTORS=\(setting) is unknown and changes nothing: avx2 turns AVX-512 off"
}

// MARK: Rows

extension WideLoops {
  package func exponentiate(_ x: borrowing Row, minus offset: Float) {
    unsafe exponentiate(x.base, x.count, offset)
  }

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

// MARK: Updates

extension WideLoops {
  package func fill(
    _ batch: PhiloxBatch, _ numbers: inout MutableSpan<UInt16>, _ a: UInt32, _ b: UInt32, set: Int
  ) {
    precondition(numbers.count == PhiloxBatch.setCount, "a set of numbers")
    var batch = batch
    unsafe fill(&batch, Fence(&numbers).pointer, a, b, set)
  }

  package func advance(
    _ moment: Moment, codes: inout MutableSpan<UInt8>, scale: inout Float, _ step: AdamWStep,
    _ gradient: Span<Float>, _ noise: Span<UInt16>, into used: inout MutableSpan<Float>
  ) {
    precondition(gradient.count == codes.count, "one gradient each")
    precondition(codes.count <= noise.count, "one number each")
    precondition(codes.count <= used.count, "room for the group")
    precondition(!codes.isEmpty, "a scale has codes")
    var step = step
    unsafe advanceCodes(
      moment.number, &step, Fence(&codes).pointer, &scale, Fence(gradient).pointer,
      Fence(noise).pointer, Fence(&used).pointer, codes.count)
  }

  package func move(
    _ step: AdamWStep, hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>,
    _ m: Span<Float>, _ root: Span<Float>
  ) {
    precondition(lo.count == hi.count, "one lo half per hi half")
    precondition(m.count == hi.count && root.count == hi.count, "two moments per weight")
    guard !hi.isEmpty else { return }
    var step = step
    unsafe move(
      &step, Fence(&hi).pointer, Fence(&lo).pointer, Fence(m).pointer, Fence(root).pointer,
      hi.count)
  }

  package func move(
    _ step: AdamWStep, hi: inout MutableSpan<UInt16>, _ m: Span<Float>, _ root: Span<Float>,
    _ noise: Span<UInt16>
  ) {
    precondition(m.count == hi.count && root.count == hi.count, "two moments per weight")
    precondition(noise.count == hi.count, "one number per weight")
    guard !hi.isEmpty else { return }
    var step = step
    unsafe moveRounded(
      &step, Fence(&hi).pointer, Fence(m).pointer, Fence(root).pointer, Fence(noise).pointer,
      hi.count)
  }

  package func update(
    _ step: AdamWStep, hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>,
    m: inout MutableSpan<Float>, v: inout MutableSpan<Float>, _ gradient: Span<Float>
  ) {
    precondition(hi.count == gradient.count && lo.count == gradient.count, "two halves each")
    precondition(m.count == gradient.count && v.count == gradient.count, "two moments each")
    guard !gradient.isEmpty else { return }
    var step = step
    unsafe update(
      &step, Fence(&hi).pointer, Fence(&lo).pointer, Fence(&m).pointer, Fence(&v).pointer,
      Fence(gradient).pointer, gradient.count)
  }
}

// MARK: Where they are

extension WideLoops {
  /// In the directory of the program.
  private static var libraryPath: String {
    let program = absolute("/proc/self/exe")
    return program[..<(program.lastIndex(of: "/") ?? program.startIndex)] + "/libPagodaWide.so"
  }

  /// Whether all that x86-64-v4 adds to the AVX2 of the other kernels is there, as the kernel says,
  /// who also keeps the registers.
  private static var processorIsWide: Bool {
    let needed: Set<Substring> = ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]
    // The first processor has fewer lines; many processors have many.
    let lines = (text(of: "/proc/cpuinfo") ?? "").split(separator: "\n", maxSplits: 40)
    let flags = lines.first { $0.hasPrefix("flags") }?.split(separator: " ") ?? []
    return needed.isSubset(of: flags)
  }
}
