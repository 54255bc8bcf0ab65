import Base
package import Interchange
import Kernels
import Models
import Training

/// A model folder of Hugging Face's with weights by seed: the geometry of a published model, so that
/// everything can be tried that needs the model's size and not what it learnt. Tensors are made and
/// written by the piece; the folder appears whole or not at all.
package struct SyntheticCheckpoint {
  package struct Options: Sendable {
    package var seed: UInt64 = 1
    /// `.f32` or `.bf16`; nil for what the configuration says.
    package var type: ElementType?
    /// Most bytes of tensors in a file.
    package var shardBytes = 5_000_000_000
    package var threads = 2

    package init() {}
  }

  package struct Report: Encodable, Sendable {
    package let directory: String
    package let modelType: String
    package let parameters: Int
    package let tensors: Int
    package let dtype: String
    package let seed: UInt64
    package let files: Int
    package let bytes: Int
    package let seconds: Double
    package let bytesPerSecond: Double
    /// Pieces of the trained tokenizer and tokens with those that were added; nil without one.
    package let tokenizerPieces: Int?
    package let tokenizerTokens: Int?
    package let tokenizerSeconds: Double?
    package let peakRssBytes: Int
  }

  private let members: [String: JSONValue]
  private let configuration: ModelConfiguration
  private let tensors: [CheckpointTensor]
  private let type: ElementType
  private let options: Options

  /// - Parameters:
  ///   - members: of the `config.json`.
  ///   - path: of that file, for errors.
  /// - Throws: `InterchangeError` for a model that is not known.
  package init(
    _ members: [String: JSONValue], path: String, _ options: Options = Options()
  ) throws {
    let configuration = try ModelConfiguration(members, path: path)
    tensors = try ModelDescription(configuration, path: path).checkpointTensors
    let type = options.type ?? configuration.weightType ?? .f32
    guard type == .f32 || type == .bf16 else {
      throw InterchangeError.unsupported(
        path: path, offset: 0, cause: "weights of \(type.torchName) are not written",
        remedy: "ask for fp32 or bf16")
    }
    (self.configuration, self.type, self.options) = (configuration, type, options)
    // The key that is there, which depends on the version of transformers.
    let key = members["dtype"] == nil ? "torch_dtype" : "dtype"
    self.members = members.merging([key: .string(type.torchName)]) { $1 }
  }

  package var parameters: Int { tensors.reduce(0) { $0 + $1.count } }

  /// A tokenizer of this model's vocabulary.
  package func trainTokenizer(_ lines: [String], languages: [String]) throws -> TrainedTokenizer {
    try TrainedTokenizer(
      configuration, lines: lines, languages: languages, threads: options.threads)
  }

  // MARK: Writing

  /// Makes the directory `path`, or leaves nothing.
  /// - Parameters:
  ///   - isStopping: asked before each piece; true ends it.
  ///   - observe: told of the bytes of tensors written and to be written.
  /// - Throws: `InterchangeError`; `SynthesisError.stopped`.
  package func write(
    to path: String, tokenizer: TrainedTokenizer? = nil, isStopping: () -> Bool = { false },
    observe: (_ written: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> Report {
    let start = ContinuousClock.now
    let layout = SafetensorsShards(
      tensors.map { SafetensorsTensor(name: $0.name, type: type, shape: $0.shape) },
      stem: "model", shardBytes: options.shardBytes)
    let small = smallFiles(tokenizer)
    let total = small.reduce(layout.byteCount) { $0 + $1.bytes.count }
    let staged = try StagedDirectory(path, neededBytes: total)
    for file in small { try writeSynced(file.bytes, to: "\(staged.path)/\(file.name)") }
    let writer = try SafetensorsWriter(layout, in: staged.path)
    let scale = InitialScale(configuration)
    var maker = PieceMaker(type, seed: options.seed, threads: options.threads)
    var written = 0
    for (number, tensor) in tensors.enumerated() {
      let values = scale.values(of: tensor)
      let zeros = scale.zeroRow(of: tensor).map { row in
        row * tensor.shape[1]..<(row + 1) * tensor.shape[1]
      }
      for first in stride(from: 0, to: tensor.count, by: PieceMaker.countMax) {
        if isStopping() { throw SynthesisError.stopped }
        let range = first..<min(first + PieceMaker.countMax, tensor.count)
        maker.make(range, of: number, values, zeros: zeros)
        try maker.write(
          range.count, with: writer, to: tensor.name, at: first * type.byteCount)
        written += range.count * type.byteCount
      }
      observe(written, layout.byteCount)
    }
    try writer.finish()
    try staged.publish()
    let seconds = (ContinuousClock.now - start).seconds
    return Report(
      directory: path, modelType: configuration.type.rawValue, parameters: parameters,
      tensors: tensors.count, dtype: type.torchName, seed: options.seed,
      files: small.count + layout.shards.count + (layout.index == nil ? 0 : 1), bytes: total,
      seconds: seconds, bytesPerSecond: Double(total) / max(seconds, 1e-3),
      tokenizerPieces: tokenizer?.pieceCount, tokenizerTokens: tokenizer?.tokenCount,
      tokenizerSeconds: tokenizer?.seconds, peakRssBytes: ProcessMemory.peakResidentBytes)
  }

  private func smallFiles(
    _ tokenizer: TrainedTokenizer?
  ) -> [(name: String, bytes: [UInt8])] {
    let members = members.merging(tokenizer?.specialIDs ?? [:]) { $1 }
    let keys = ["bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"]
    var generation = members.filter { keys.contains($0.key) && $0.value != .null }
    generation["_from_model_config"] = .bool(true)
    let files = [("config.json", members), ("generation_config.json", generation)]
    return files.map { ($0, Array((JSONValue.object($1).json + "\n").utf8)) }
      + (tokenizer?.files ?? [])
  }
}

package enum SynthesisError: Error, CustomStringConvertible {
  /// On request; nothing is left.
  case stopped
  case unreadableText(path: String, cause: String)

  package var description: String {
    switch self {
    case .stopped: "stopped; nothing was left behind"
    case .unreadableText(let path, let cause):
      "\(path): \(cause); name a prepared corpus or a file of text, a sentence on each line"
    }
  }

  /// Of sysexits.h.
  package var exitCode: Int32 {
    switch self {
    case .stopped: 75
    case .unreadableText: 66
    }
  }
}

/// Makes one piece of a tensor after another in the same memory.
private struct PieceMaker {
  /// Elements of a piece: 4 MiB of floats.
  static let countMax = 1 << 20
  private static let countOfTask = 1 << 16

  private let type: ElementType
  private let seed: UInt64
  private let workers: Workers
  private let floats = FloatBuffer(count: countMax)
  private var halves: [UInt16]

  init(_ type: ElementType, seed: UInt64, threads: Int) {
    (self.type, self.seed) = (type, seed)
    workers = Workers(count: threads)
    halves = type == .bf16 ? Array(repeating: 0, count: Self.countMax) : []
  }

  /// - Parameters:
  ///   - range: elements of the tensor.
  ///   - number: of the tensor in its model: its stream of random numbers.
  ///   - zeros: elements that are zero whatever `values` says.
  func make(
    _ range: Range<Int>, of number: Int, _ values: InitialScale.Values, zeros: Range<Int>?
  ) {
    let target = floats.matrix(rows: 1, columns: range.count)
    switch values {
    case .constant(let value): target.fill(value)
    case .uniform(let bound):
      let fill = UniformFill(seed: seed, block: .dense(number), bound: bound)
      workers.forEachChunk(of: range.count, size: Self.countOfTask) { chunk in
        fill.fill(target.columns(chunk), first: range.lowerBound + chunk.lowerBound)
      }
    }
    if let zeros {
      let inside = zeros.clamped(to: range)
      if !inside.isEmpty {
        let start = range.lowerBound
        target.columns(inside.lowerBound - start..<inside.upperBound - start).fill(0)
      }
    }
  }

  /// Writes the first `count` elements of the piece.
  mutating func write(
    _ count: Int, with writer: SafetensorsWriter, to name: String, at offset: Int
  ) throws(InterchangeError) {
    if type == .f32 {
      let floats = floats.span.extracting(0..<count)
      try unsafe writer.write(floats.bytes, to: name, at: offset)
    } else {
      let buffer = floats
      let floats = buffer.span
      for i in 0..<count { halves[i] = splitMaster(floats[i]).hi }
      let halves = halves.span.extracting(0..<count)
      try unsafe writer.write(halves.bytes, to: name, at: offset)
    }
  }
}
