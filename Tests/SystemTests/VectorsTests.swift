import Base
import Foundation
import TestSupport
import Testing

/// Wider vectors: what they may change and what not.
@Suite struct VectorsTests {
  let workplace: Workplace
  init() throws { workplace = try Workplace() }

  /// Goal: a run goes on with the same bits on a processor without AVX-512.
  @Test(arguments: [
    [], ["training.states=bf16"], ["training.states=int8", "training.master=bf16"],
  ])
  func withoutAVX512TheBitsAreTheSame(_ settings: [String]) throws {
    try Pagoda.run(workplace.training("wide", settings)).expect(0)
    try Pagoda.run(workplace.training("narrow", settings), under: ["PAGODA_VECTORS=avx2"])
      .expect(0)
    #expect(try workplace.printedLosses("wide") == workplace.printedLosses("narrow"))
    #expect(try workplace.printedEvaluations("wide") == workplace.printedEvaluations("narrow"))
  }

  /// Goal: whoever turns them off can see it.
  @Test func doctorSaysWhichAreUsed() throws {
    let ending = try Pagoda.run(["doctor"], under: ["PAGODA_VECTORS=avx2"])
    ending.expect(0)
    #expect(ending.output.contains("AVX2: PAGODA_VECTORS=avx2"))
  }

  /// Goal: a library that is not made, or not found, is not taken for a processor without AVX-512.
  @Test(.enabled(if: processorIsWide, "the processor has no AVX-512"))
  func doctorSaysAVX512WhereTheProcessorHasIt() throws {
    let ending = try Pagoda.run(["doctor"], under: ["PAGODA_VECTORS="])
    ending.expect(0)
    let line = ending.output.split(separator: "\n").first { $0.hasPrefix("vectors ") }
    #expect(line?.hasSuffix(" AVX-512") == true, "\(line ?? "")")
  }

  /// Goal: nobody believes in a setting that there is not.
  @Test func anUnknownSettingIsNamed() throws {
    let under = ["PAGODA_VECTORS=avx1024"]
    let note = "PAGODA_VECTORS=avx1024 is unknown and changes nothing"
    let doctor = try Pagoda.run(["doctor"], under: under)
    doctor.expect(0)
    #expect(doctor.output.contains(note))
    try Pagoda.run(workplace.training("run"), under: under).expect(0, note)
  }

  /// Goal: a program that was moved away from its library runs without it, and says so.
  @Test func aProgramAloneRuns() throws {
    let program = workplace.path("alone")
    try FileManager.default.copyItem(atPath: Pagoda.executable.path, toPath: program)
    let ending = try RunningPagoda(
      [program, "doctor"], input: nil, cache: TemporaryDirectory(), sourceLocation: #_sourceLocation
    ).wait()
    ending.expect(0)
    #expect(ending.output.contains("AVX2: "))

    // So that the drive is not measured first.
    let measured = [
      "storage.queue_depth=8", "storage.request_bytes=1MiB", "storage.mixing=interleaved",
    ]
    let training = try RunningPagoda(
      [program] + workplace.training("run", measured), input: nil, cache: TemporaryDirectory(),
      sourceLocation: #_sourceLocation
    ).wait()
    training.expect(0)
    #expect(training.errors.contains("AVX-512, which is not used") == processorIsWide)
  }
}

private let processorIsWide: Bool = {
  let words = Set((text(of: "/proc/cpuinfo") ?? "").split(whereSeparator: \.isWhitespace))
  return words.isSuperset(of: ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])
}()
