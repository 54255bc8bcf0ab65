import Base
import Corpus
import Layers
import Models
import Paging
import Storage
import Tracing

/// The sizes that follow from a configuration and its corpus, before anything large is allocated.
struct RunGeometry: Sendable {
  let description: ModelDescription
  let limits: BatchLimits
  let record: RecordGeometry
  let dense: DenseBlocks
  let threads: Int

  var experts: ExpertShape { description.experts }
  var blocks: Int { description.expertBlocks + dense.count }

  /// - Parameter vocabulary: of the corpus; a published model has its own.
  init(_ config: RunConfig, vocabulary: Int?) throws {
    description = try ModelDescription(config, vocabulary: vocabulary)
    let experts = description.experts
    let rows = config.training.micro_batch_tokens
    limits = BatchLimits(
      microBatches: config.training.gradient_accumulation_steps, microBatchRows: rows,
      sequenceRows: config.data.max_sequence_tokens,
      expertRows: description.routing.expertRows(experts.count, rows: rows))
    record = RecordGeometry(parametersPerBlock: experts.parametersPerBlock)
    dense = DenseBlocks(
      parametersPerBlock: experts.parametersPerBlock, parameters: description.layout.count)
    threads = config.compute.threads > 0 ? config.compute.threads : ProcessMemory.cores
  }

  /// What training needs beside page frames, by name; `data`: what the data needs.
  /// - Parameter isDensePaged: whether the dense part is in memory layer by layer.
  func fixedMemory(
    _ config: RunConfig, _ data: [MemoryLedger.Grant], isDensePaged: Bool
  ) -> [MemoryLedger.Grant] {
    [
      .init(
        name: "program, runtime and libraries", bytes: MemoryPlan.runtimeBytes(threads: threads)),
      storeTables(config, isReadOnly: false),
    ] + data + [
      isDensePaged
        ? .init(
          name: "dense parameters and gradients, paged",
          bytes: DenseMap(description, dense).pagedBytes)
        : .init(
          name: "dense parameters, gradients and moments",
          bytes: DenseParameters.byteCount(count: dense.paddedCount, training: true)),
      .init(
        name: "activations",
        bytes: Transformer.byteCount(description, limits, training: true, workers: threads)),
    ]
  }

  /// What a timeline has room for.
  var traceCapacity: TraceRecorder.Capacity {
    TraceRecorder.Capacity(
      blocks: blocks, layers: description.layers.count, workers: threads > 1 ? threads : 0)
  }

  var traceMemory: MemoryLedger.Grant {
    .init(name: "trace", bytes: traceCapacity.byteCount + TraceDrawing.bufferBytes)
  }

  /// Where the store says which record is where.
  func storeTables(_ config: RunConfig, isReadOnly: Bool) -> MemoryLedger.Grant {
    .init(
      name: "tables of the store",
      bytes: Store.tableBytes(
        blocks: blocks, keep: config.checkpoint.keep, isReadOnly: isReadOnly))
  }

  /// Names the run in its store: a digest of everything that decides what is computed. The store of
  /// a published model is named by the model alone: what it is trained on is decided later.
  /// - Parameter corpus: the checksum of the corpus.
  static func identity(_ config: RunConfig, corpus: String) throws -> String {
    if let model = try config.publishedModel() {
      let bytes = try config.bytes(config.storage.block_bytes, key: "storage.block_bytes")
      let digest = StableHash.combine(model.digest, UInt64(bytes))
      return "\(model.family.rawValue)-" + String(digest, radix: 16)
    }
    let digest = StableHash.of(config.identity(corpus: corpus))
    return "\(config.model.family)-" + String(digest, radix: 16)
  }
}
