import Foundation
import Kernels
import TestSupport
import Testing

/// The libraries that multiply matrices: what a user without one of them is told.
@Suite struct ProductsTests {
  let workplace: Workplace
  init() throws { workplace = try Workplace() }

  /// A library that the loader finds before the real one and cannot load; oneDNN is left out.
  private func withoutAny() throws -> [String] {
    let folder = workplace.path("libraries")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try Data(repeating: 7, count: 4096).write(
      to: URL(fileURLWithPath: folder + "/libopenblas.so.0"))
    return ["PAGODA_PRODUCTS=openblas", "LD_LIBRARY_PATH=\(folder)"]
  }

  /// Goal: a machine without any says so before anything is made, and how to lift it.
  @Test func withoutAnyNothingIsBegun() throws {
    let under = try withoutAny()
    try Pagoda.run(workplace.training("run"), under: under)
      .expect(66, "no library to multiply", "libopenblas.so.0", "libopenblas0")
    #expect(!FileManager.default.fileExists(atPath: workplace.path("run")))

    let doctor = try Pagoda.run(["doctor"], under: under)
    doctor.expect(0)
    #expect(doctor.output.contains("matrix products: none can be computed"))
  }

  /// Goal: where oneDNN cannot be opened, training goes on with OpenBLAS, and doctor says why.
  @Test func aBrokenOneDNNIsNamed() throws {
    let folder = workplace.path("libraries")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for version in 2...4 {
      try Data(repeating: 7, count: 4096).write(
        to: URL(fileURLWithPath: folder + "/libdnnl.so.\(version)"))
    }
    let under = ["PAGODA_PRODUCTS=", "LD_LIBRARY_PATH=\(folder)"]
    let doctor = try Pagoda.run(["doctor"], under: under)
    doctor.expect(0)
    #expect(doctor.output.contains("oneDNN, which can be faster, is not used: "))
    #expect(doctor.output.contains("libdnnl.so."))
    #expect(doctor.output.contains(/BLAS +OpenBLAS 0/))
    try Pagoda.run(workplace.training("run"), under: under).expect(0)
  }

  /// Goal: evaluating and translating what was trained say the same.
  @Test(arguments: [["evaluate"], ["translate", "--to", "de"]])
  func withoutAnyARunCannotBeUsed(_ command: [String]) throws {
    try Pagoda.run(workplace.training("run")).expect(0)
    let words = command[...0] + [workplace.path("run")] + command[1...]
    try Pagoda.run(Array(words), input: "Open\n", under: try withoutAny())
      .expect(66, "no library to multiply")
  }

  /// Goal: a run that goes on with another library says so: its bits are not those of one library.
  @Test(.enabled(if: ProductLibrary.installed.contains(.oneDNN), "there is no oneDNN"))
  func anotherLibraryIsNamed() throws {
    let change = "until step 2 it was oneDNN"
    let first = try Pagoda.run(training(2), under: ["PAGODA_PRODUCTS="])
    first.expect(0)
    let second = try Pagoda.run(
      training(3), under: ["PAGODA_PRODUCTS=openblas"])
    second.expect(0, "multiplied by OpenBLAS", change)
    let third = try Pagoda.run(
      training(4), under: ["PAGODA_PRODUCTS=openblas"])
    third.expect(0)
    #expect(!third.errors.contains("multiplied by"))
  }

  /// The command that trains up to a step.
  private func training(_ steps: Int) -> [String] {
    workplace.training("run", ["--steps", "\(steps)"])
  }
}
