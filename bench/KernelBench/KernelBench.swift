import ArgumentParser

/// How fast the kernels are, beside what the machine can do in the same rounds.
@main
struct KernelBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures kernels against the machine's ceilings.",
    discussion: """
      Everything takes turns, round after round; figures are medians, ratios are taken within a \
      round. Tables go to stderr, a line of JSON for each contest to stdout.

        .build/release/KernelBench adam
        .build/release/KernelBench matmul --rows 64,256,1024
        .build/release/KernelBench elementwise
      """,
    subcommands: [AdamBench.self, MatmulBench.self, ElementwiseBench.self])
}

/// A comma-separated list of positive numbers.
struct Counts: ExpressibleByArgument {
  let values: [Int]

  init(_ values: [Int]) { self.values = values }

  init?(argument: String) {
    // `100e6` is a count, too.
    let values = argument.split(separator: ",").map { Int(exactly: Double($0) ?? 0) ?? 0 }
    guard !values.isEmpty, values.allSatisfy({ $0 > 0 }) else { return nil }
    self.values = values
  }

  var defaultValueDescription: String { values.map(String.init).joined(separator: ",") }
}
