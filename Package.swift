// swift-tools-version: 6.2
import PackageDescription

// Every C module must see the same feature macros, or clang rejects the merge of `fd_set`.
let posix: [CSetting] = [.define("_GNU_SOURCE")]

let swift: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),
]
// Float code: square root without errno; optimised in debug builds too, with assertions alive there.
func floatSettings(_ processor: String...) -> [SwiftSetting] {
  swift + [
    .unsafeFlags((processor + ["-fno-math-errno"]).flatMap { ["-Xcc", $0] }),
    .unsafeFlags(["-O", "-assert-config", "Debug"], .when(configuration: .debug)),
  ]
}
// AVX2 and FMA.
let floats = floatSettings("-march=x86-64-v3")
// AVX-512, whose whole width compilers for any such processor do not use unasked.
let wideFloats = floatSettings("-march=x86-64-v4", "-mprefer-vector-width=512")

func module(
  _ name: String, _ uses: [Target.Dependency] = [], _ settings: [SwiftSetting] = swift
) -> Target {
  .target(name: name, dependencies: uses, cSettings: posix, swiftSettings: settings)
}
func tests(
  _ name: String, _ uses: [Target.Dependency], exclude: [String] = [],
  resources: [Resource] = []
) -> Target {
  .testTarget(
    name: name, dependencies: uses, exclude: exclude, resources: resources, cSettings: posix,
    swiftSettings: swift)
}

let package = Package(
  name: "pagoda",
  products: [
    // Opened by Kernels where the processor can run it: nothing may link it.
    .library(name: "PagodaWide", type: .dynamic, targets: ["WideKernels"])
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.2"),
    .package(url: "https://github.com/jpsim/Yams.git", from: "6.2.2"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift.git", from: "0.2.0"),
  ],
  targets: [
    // C libraries, imported and nothing else.
    .systemLibrary(name: "CLiburing", pkgConfig: "liburing", providers: [.apt(["liburing-dev"])]),
    .systemLibrary(name: "CNuma", providers: [.apt(["libnuma-dev"])]),
    .systemLibrary(name: "CMemoryMap"),
    .systemLibrary(name: "CPrefetch"),
    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
    .systemLibrary(name: "CLibXML2", pkgConfig: "libxml-2.0", providers: [.apt(["libxml2-dev"])]),
    .target(
      name: "CSentencePiece",
      linkerSettings: [
        .linkedLibrary("sentencepiece"), .linkedLibrary("sentencepiece_train"),
        .linkedLibrary("stdc++"),
      ]),
    // Opens the library (libopenblas0) itself.
    .target(name: "COpenBLAS", cSettings: posix),
    // As COpenBLAS; without the library (libdnnl) products are OpenBLAS's.
    .target(name: "COneDNN", cSettings: posix),
    // Its header alone is used (libxxhash-dev), compiled for the CPUs this program asks for.
    .target(name: "CXXHash", cSettings: posix + [.unsafeFlags(["-O3", "-march=x86-64-v3"])]),

    // The byte side: bytes, offsets, alignment; no arithmetic on floats.
    module("Base"),
    module("Tracing", ["Base"]),
    module("PinnedMemory", ["Base", "CNuma"]),
    module("DirectIO", ["Base", "PinnedMemory", "CLiburing"]),
    module("Storage", ["Base", "PinnedMemory", "DirectIO", "CXXHash", "CSQLite"]),
    module("Paging", ["Base", "Tracing", "PinnedMemory", "DirectIO", "Storage"]),

    // The float side: matrices and spans; no files.
    module(
      "Kernels", ["Base", "Tracing", "CMemoryMap", "CPrefetch", "COneDNN", "COpenBLAS"], floats),
    module("WideKernels", ["CPrefetch"], wideFloats),
    module("Optimizers", ["Base", "Kernels"], floats),
    module("Layers", ["Base", "Kernels"], floats),
    module("Models", ["Base", "Kernels", "Optimizers", "Layers", "Interchange"], floats),

    // Text and formats.
    module("Interchange"),
    module("Tokenizers", ["CSentencePiece"]),
    module("Corpus", ["Base", "Tokenizers", "CLibXML2", "CSentencePiece"]),

    // Where the sides meet.
    module(
      "Training",
      [
        "Base", "Tracing", "PinnedMemory", "DirectIO", "Storage", "Paging", "Kernels",
        "Optimizers", "Layers", "Models", "Interchange", "Corpus", "Tokenizers",
        .product(name: "Yams", package: "Yams"),
      ], floats),
    module(
      "Planning",
      [
        "Base", "PinnedMemory", "DirectIO", "Kernels",
        .product(name: "Histogram", package: "hdrhistogram-swift"),
      ]),
    module(
      "Surgery", ["Base", "DirectIO", "Kernels", "Models", "Storage", "Corpus", "Training"]),
    .executableTarget(
      name: "pagoda",
      dependencies: [
        "Base", "PinnedMemory", "DirectIO", "Storage", "Kernels", "Layers", "Interchange",
        "Corpus", "Tokenizers", "Training", "Planning", "Surgery",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], cSettings: posix, swiftSettings: floats),

    // Measurements: one command for each claim.
    .target(
      name: "BenchHarness", dependencies: ["Base", "Kernels", "Planning"], path: "bench/Harness",
      cSettings: posix, swiftSettings: floats),
    .target(name: "CStreaming", path: "bench/CStreaming"),
    .executableTarget(
      name: "KernelBench",
      dependencies: [
        "Base", "BenchHarness", "CStreaming", "Kernels", "Layers", "Optimizers",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "bench/KernelBench", cSettings: posix, swiftSettings: floats),
    .executableTarget(
      name: "CommitBench",
      dependencies: [
        "Base", "BenchHarness", "Paging", "Storage", "Training",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "bench/CommitBench", cSettings: posix, swiftSettings: floats),
    .executableTarget(
      name: "PagedBench",
      dependencies: [
        "Base", "BenchHarness", "Kernels", "Layers", "Models", "Planning", "Storage", "Training",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "bench/PagedBench", cSettings: posix, swiftSettings: floats),
    .executableTarget(
      name: "StepBench",
      dependencies: [
        "Base", "BenchHarness", "Models", "Training",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "bench/StepBench", cSettings: posix, swiftSettings: floats),
    .executableTarget(
      name: "SwapUpdateBench",
      dependencies: [
        "Base", "BenchHarness", "DirectIO", "Kernels", "Optimizers", "Paging", "PinnedMemory",
        "Storage", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "bench/SwapUpdateBench", cSettings: posix, swiftSettings: floats),

    // A disk and databases that misbehave by seed: for tests and tools.
    module("Simulation", ["Base", "PinnedMemory", "DirectIO", "CSQLite"]),

    .target(
      name: "SimulatedRuns",
      dependencies: ["Base", "PinnedMemory", "DirectIO", "Storage", "Training", "Simulation"],
      path: "bench/SimulatedRuns", cSettings: posix, swiftSettings: floats),
    .executableTarget(
      name: "Simulate",
      dependencies: [
        "Corpus", "SimulatedRuns", "TestSupport",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "bench/Simulate", cSettings: posix, swiftSettings: floats),
    .executableTarget(
      name: "Decay",
      dependencies: [
        "Base", "Corpus", "DirectIO", "Storage", "Training", "TestSupport",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "bench/Decay", cSettings: posix, swiftSettings: floats),

    // What transformers computes of small checkpoints: for tests and tools.
    .target(
      name: "Goldens",
      dependencies: ["Base", "Interchange", "Kernels", "Models", "Optimizers", "Training"],
      path: "bench/Goldens", cSettings: posix, swiftSettings: floats),
    .executableTarget(
      name: "CheckGolden",
      dependencies: [
        "Goldens", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "bench/CheckGolden", cSettings: posix, swiftSettings: floats),
    .target(
      name: "SyntheticCheckpoint",
      dependencies: ["Base", "Corpus", "Interchange", "Kernels", "Models", "Training"],
      path: "bench/SyntheticCheckpoint", cSettings: posix, swiftSettings: floats),
    .executableTarget(
      name: "Synthesize",
      dependencies: [
        "Base", "Corpus", "Interchange", "SyntheticCheckpoint",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "bench/Synthesize", cSettings: posix, swiftSettings: floats),

    // Training in less precision beside fp32.
    .target(
      name: "ConvergenceTrials", dependencies: ["Training"], path: "bench/ConvergenceTrials",
      cSettings: posix, swiftSettings: floats),
    .executableTarget(
      name: "Convergence",
      dependencies: [
        "BenchHarness", "ConvergenceTrials", "Training",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], path: "bench/Convergence", cSettings: posix, swiftSettings: floats),

    // What fuzzers do with an input: for tests and tools.
    module(
      "Fuzzing",
      ["DirectIO", "Storage", "Interchange", "Tokenizers", "Corpus", "Training", "CSQLite"]),

    .target(
      name: "TestSupport", dependencies: ["Base", "Kernels", "Corpus"],
      path: "Tests/TestSupport",
      resources: [.copy("Resources")], cSettings: posix, swiftSettings: swift),
    tests("BaseTests", ["Base"]),
    tests("TracingTests", ["Base", "Tracing"]),
    tests(
      "InterchangeTests", ["Fuzzing", "Interchange", "TestSupport"],
      resources: [.copy("Goldens"), .copy("Resources")]),
    tests("PinnedMemoryTests", ["Base", "PinnedMemory", "Kernels"]),
    tests(
      "StorageTests", ["Base", "PinnedMemory", "DirectIO", "Storage", "Simulation", "CSQLite"]),
    tests(
      "PagingTests",
      [
        "Base", "PinnedMemory", "DirectIO", "Storage", "Paging", "Kernels", "Simulation",
        "TestSupport", "Tracing",
      ]),
    tests("DirectIOTests", ["Base", "PinnedMemory", "DirectIO", "Simulation", "TestSupport"]),
    tests(
      "TokenizersTests", ["Base", "TestSupport", "Tokenizers"], exclude: ["make_goldens.py"],
      resources: [.copy("Resources")]),
    tests(
      "CorpusTests", ["Base", "Corpus", "TestSupport", "Tokenizers"],
      exclude: ["make_goldens.py"], resources: [.copy("Resources")]),
    tests("SimulationTests", ["Base", "PinnedMemory", "DirectIO", "Simulation", "CSQLite"]),
    tests(
      "SimulatedRunsTests", ["Corpus", "DirectIO", "PinnedMemory", "SimulatedRuns", "TestSupport"]),
    tests(
      "SyntheticCheckpointTests",
      [
        "Corpus", "Interchange", "Models", "SyntheticCheckpoint", "Goldens", "TestSupport",
        "Tokenizers",
        "Training",
      ]),
    tests("ConvergenceTrialsTests", ["ConvergenceTrials", "Corpus", "TestSupport", "Training"]),
    tests("FuzzingTests", ["Fuzzing"], resources: [.copy("Inputs")]),
    tests("KernelsTests", ["Base", "Kernels", "TestSupport", "Tracing"]),
    tests("OptimizersTests", ["Base", "Kernels", "Optimizers"]),
    tests("LayersTests", ["Base", "Kernels", "Layers", "TestSupport"]),
    tests("PlanningTests", ["Base", "DirectIO", "PinnedMemory", "Planning", "Simulation"]),
    tests(
      "ModelsTests",
      [
        "Base", "Goldens", "Kernels", "Layers", "Optimizers", "Models", "Interchange",
        "TestSupport",
      ]),
    tests(
      "TrainingTests",
      [
        "Base", "Corpus", "DirectIO", "Goldens", "Interchange", "Kernels", "Layers", "Models",
        "Optimizers", "Paging", "Simulation", "Storage", "Surgery", "TestSupport", "Training",
      ]),
    tests(
      "SurgeryTests",
      [
        "Base", "Corpus", "DirectIO", "Kernels", "Layers", "Models", "Storage", "Surgery",
        "TestSupport", "Training",
      ]),
    tests(
      "SystemTests",
      [
        "Base", "Corpus", "DirectIO", "Goldens", "Kernels", "Planning", "Storage", "Training",
        "TestSupport",
        "pagoda", "CommitBench", "KernelBench", "PagedBench", "StepBench", "SwapUpdateBench",
      ]),
  ]
)

// Links libFuzzer, which builds of `tools/fuzz` alone have.
if Context.environment["PAGODA_FUZZ"] != nil {
  package.targets += [
    .systemLibrary(name: "CLibFuzzer", path: "tools/fuzzing/CLibFuzzer"),
    .executableTarget(
      name: "fuzz", dependencies: ["CLibFuzzer", "Fuzzing"], path: "tools/fuzzing/fuzz",
      cSettings: posix, swiftSettings: swift),
  ]
}
