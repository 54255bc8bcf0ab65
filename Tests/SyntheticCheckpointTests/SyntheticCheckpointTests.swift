import Foundation
import Goldens
import Interchange
import Models
import SyntheticCheckpoint
import TestSupport
import Testing
import Training

/// What transformers counts in its models of the published configurations.
@Test(
  arguments: [
    ("switch-base-8", 619_339_008), ("switch-base-32", 1_978_514_688),
    ("switch-base-64", 3_790_748_928), ("switch-large-128", 26_309_291_008),
    ("nllb-moe-54b", 54_500_569_088), ("olmoe-1b-7b", 6_919_161_856),
    ("qwen3-30b-a3b", 30_532_122_624), ("mixtral-8x7b", 46_702_792_704),
    ("mixtral-8x22b", 140_630_071_296),
  ])
func publishedSizesAreTransformers(name: String, parameters: Int) throws {
  let model = try #require(PublishedSize(named: name))
  let checkpoint = try SyntheticCheckpoint(model.configuration, path: name)
  #expect(checkpoint.parameters == parameters)
}

@Test func everyPublishedSizeIsKnown() throws {
  #expect(Set(PublishedSize.all.map(\.name)).count == PublishedSize.all.count)
  for model in PublishedSize.all {
    _ = try SyntheticCheckpoint(model.configuration, path: model.name)
  }
}

/// Every layer, or four of a family with experts in every second or fourth, adds as much.
@Test(arguments: [("switch-large-128", 24), ("nllb-moe-54b", 24), ("mixtral-8x7b", 32)])
func publishedSizesMayHaveFewerLayers(name: String, layers: Int) throws {
  let model = try #require(PublishedSize(named: name))
  let counts = try [4, 8, 12].map {
    try SyntheticCheckpoint(model.configuration(layers: $0), path: name).parameters
  }
  #expect(counts[1] - counts[0] == counts[2] - counts[1] && counts[0] < counts[1])
  #expect(model.configuration(layers: layers) == model.configuration)
}

@Test func olmoeOfThreeLayersHasTheLayersOfOlmoe() throws {
  let model = try #require(PublishedSize(named: "olmoe-1b-7b"))
  let checkpoint = try SyntheticCheckpoint(model.configuration(layers: 3), path: model.name)
  // 64 experts, 4 projections, gate, 4 norms; two tables and the last norm.
  let layer = 64 * 3 * 1024 * 2048 + 4 * 2048 * 2048 + 64 * 2048 + 4 * 2048
  #expect(checkpoint.parameters == 3 * layer + 2 * 50304 * 2048 + 2048)
}

private let goldens = [
  "switch-tiny", "switch-tiny-gelu", "nllb-moe-tiny", "mixtral-tiny", "olmoe-tiny",
  "qwen3-moe-tiny",
]

private func write(
  _ golden: Golden, to path: String,
  _ change: (inout SyntheticCheckpoint.Options) -> Void = { _ in }
) throws -> SyntheticCheckpoint.Report {
  var options = SyntheticCheckpoint.Options()
  options.type = .f32
  change(&options)
  let checkpoint = try SyntheticCheckpoint(try members(golden.folder), path: path, options)
  return try checkpoint.write(to: path)
}

private func members(_ folder: String) throws -> [String: JSONValue] {
  guard case .object(let members) = try JSONValue(path: "\(folder)/config.json") else { return [:] }
  return members
}

private func read(_ folder: CheckpointFolder, _ name: String) throws -> [Float] {
  let tensor = try #require(folder.tensor(name))
  var floats = [Float](repeating: .nan, count: tensor.shape.reduce(1, *))
  let columns = tensor.shape.last ?? 1
  var span = floats.mutableSpan
  try folder.read(name, rows: 0..<span.count / columns, into: &span)
  return floats
}

/// The same tensors in the same shapes as transformers saves, and the same configuration.
@Test(arguments: goldens)
func foldersAreLaidOutAsByTransformers(name: String) throws {
  let directory = try TemporaryDirectory()
  let path = "\(directory.path)/model"
  let golden = try Golden(name)
  let report = try write(golden, to: path) { $0.shardBytes = 20_000 }
  let original = try CheckpointFolder(golden.folder)
  let folder = try CheckpointFolder(path)

  #expect(folder.names == original.names)
  for tensor in original.tensors {
    #expect(folder.tensor(tensor.name)?.shape == tensor.shape, "\(tensor.name)")
  }
  #expect(report.tensors == original.tensors.count)
  #expect(report.parameters == original.tensors.reduce(0) { $0 + $1.shape.reduce(1, *) })
  #expect(Set(folder.tensors.map(\.file)).count > 2, "several files and an index")

  let configuration = try ModelConfiguration("\(path)/config.json")
  #expect(configuration.weightType == .f32)
  #expect(
    CheckpointGeometry(folder.tensors.map { ($0.name, $0.shape) }, configuration.type)
      .differences(from: configuration).isEmpty)
  let files = try FileManager.default.contentsOfDirectory(atPath: path)
  #expect(files.count == report.files)
  let sizes = try files.map {
    try FileManager.default.attributesOfItem(atPath: "\(path)/\($0)")[.size] as? Int ?? 0
  }
  #expect(sizes.reduce(0, +) == report.bytes)
}

/// Matrices have the deviations that transformers starts from, which is what the goldens are of;
/// gains are one, biases zero, and so is the row of padding.
@Test(arguments: ["switch-tiny", "nllb-moe-tiny", "olmoe-tiny"])
func weightsAreThoseOfANewModel(name: String) throws {
  let directory = try TemporaryDirectory()
  let path = "\(directory.path)/model"
  let golden = try Golden(name)
  _ = try write(golden, to: path)
  let folder = try CheckpointFolder(path)
  let configuration = try golden.configuration()
  for tensor in folder.tensors {
    let floats = try read(folder, tensor.name)
    if tensor.shape.count == 1 {
      let isGain = tensor.name.hasSuffix("norm.weight")
      #expect(floats.allSatisfy { $0 == (isGain ? 1 : 0) }, "\(tensor.name)")
      continue
    }
    let count = Double(floats.count)
    let mean = floats.reduce(0) { $0 + Double($1) } / count
    let deviation = (floats.reduce(0) { $0 + Double($1) * Double($1) } / count).squareRoot()
    let wanted = expected(tensor.name, configuration)
    #expect(abs(mean) < 4 * wanted / count.squareRoot(), "\(tensor.name)")
    // Row of padding and chance.
    #expect(abs(deviation / wanted - 1) < 0.02 + 3 / count.squareRoot(), "\(tensor.name)")
  }
}

private func expected(_ name: String, _ configuration: ModelConfiguration) -> Double {
  guard case .switchTransformers(let model) = configuration.family else {
    if case .nllbMoE(let model) = configuration.family { return model.initializerDeviation }
    if case .decoder(let model) = configuration.family { return model.initializerRange }
    return .nan
  }
  let ends: [(String, Int)] = [
    ("shared.weight", 1), ("classifier.weight", 1), ("mlp.wo.weight", model.hidden),
    (".q.weight", model.width * model.headWidth), (".o.weight", model.heads * model.headWidth),
  ]
  let variance = ends.first { name.hasSuffix($0.0) }?.1 ?? model.width
  return model.initializerFactor / Double(variance).squareRoot()
}

@Test func paddingHasNoEmbedding() throws {
  let directory = try TemporaryDirectory()
  let golden = try Golden("nllb-moe-tiny")
  _ = try write(golden, to: "\(directory.path)/model")
  let folder = try CheckpointFolder("\(directory.path)/model")
  let name = "model.shared.weight"
  let width = try #require(folder.tensor(name)?.shape[1])
  let padding = try #require(try golden.configuration().padToken)
  let table = try read(folder, name)
  #expect(table[padding * width..<(padding + 1) * width].allSatisfy { $0 == 0 })
  #expect(table.prefix(width).allSatisfy { $0 != 0 })
}

@Test func theSeedDecidesTheBytes() throws {
  let directory = try TemporaryDirectory()
  let golden = try Golden("switch-tiny")
  func bytes(_ seed: UInt64, threads: Int) throws -> Data {
    let path = "\(directory.path)/\(seed)-\(threads)"
    _ = try write(golden, to: path) { ($0.seed, $0.threads) = (seed, threads) }
    return try Data(contentsOf: URL(fileURLWithPath: "\(path)/model.safetensors"))
  }
  let first = try bytes(1, threads: 1)
  #expect(try bytes(1, threads: 2) == first)
  #expect(try bytes(2, threads: 2) != first)
}

@Test func halvesAreTheFloatsRounded() throws {
  let directory = try TemporaryDirectory()
  let golden = try Golden("mixtral-tiny")
  _ = try write(golden, to: "\(directory.path)/floats")
  _ = try write(golden, to: "\(directory.path)/halves") { $0.type = .bf16 }
  let floats = try CheckpointFolder("\(directory.path)/floats")
  let halves = try CheckpointFolder("\(directory.path)/halves")
  #expect(try ModelConfiguration("\(halves.directory)/config.json").weightType == .bf16)
  for tensor in halves.tensors {
    #expect(tensor.type == .bf16)
    let pairs = zip(try read(floats, tensor.name), try read(halves, tensor.name))
    #expect(pairs.allSatisfy { abs($0 - $1) <= abs($0) / 256 }, "\(tensor.name)")
  }
}

/// Interrupted at any piece, nothing is there, and the next attempt is like the first.
@Test func anInterruptionLeavesNothing() throws {
  let directory = try TemporaryDirectory()
  let path = "\(directory.path)/model"
  let golden = try Golden("olmoe-tiny")
  let checkpoint = try SyntheticCheckpoint(try members(golden.folder), path: path)
  for piece in [0, 1, 20] {
    var asked = 0
    #expect(throws: SynthesisError.self) {
      _ = try checkpoint.write(
        to: path,
        isStopping: {
          asked += 1
          return asked > piece
        })
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
  }
  _ = try checkpoint.write(to: path)
  #expect(throws: InterchangeError.self) { _ = try checkpoint.write(to: path) }
}
