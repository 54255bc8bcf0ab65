import ArgumentParser
import Base
import Kernels
import Planning

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What this machine offers, what is degraded, and how to lift it.",
    discussion: "  pagoda doctor --path /mnt/nvme0 --path /mnt/nvme1")

  @Option(help: "A directory that a store may live in.")
  var path: [String] = ["."]

  @Flag(help: "Print one JSON object.")
  var json = false

  private struct Report: Encodable {
    let machine: MachineFacts
    let blas: String
    let vectors: String
  }

  func run() throws {
    try reportingFailures {
      let facts = MachineFacts.gather(directories: path, beside: productFindings)
      if json {
        return try Output.json(
          Report(
            machine: facts, blas: ProductLibrary.bestDescription,
            vectors: vectorsDescription()))
      }
      for line in lines(facts) { Output.result(line) }
    }
  }

  /// Of the libraries that multiply matrices.
  private var productFindings: [MachineFacts.Finding] {
    do {
      try ProductLibrary.requireOne()
    } catch {
      return [
        MachineFacts.Finding(
          subject: "matrix products", problem: "none can be computed: \(error.cause)",
          remedy: "install OpenBLAS (Debian: libopenblas0)")
      ]
    }
    return ProductLibrary.degradation.map { problem in
      [
        MachineFacts.Finding(
          subject: "matrix products", problem: problem,
          remedy: "let it be used, or set PAGODA_PRODUCTS=openblas, which says that it need not be")
      ]
    } ?? []
  }

  private func lines(_ facts: MachineFacts) -> [String] {
    var rows = [
      ["kernel", facts.kernel], ["processor", describe(facts.processor)],
      ["memory", describe(facts.memory)], ["BLAS", ProductLibrary.bestDescription],
      ["vectors", vectorsDescription()],
      ["io_uring", describe(facts.ring)],
    ]
    for node in facts.nodes {
      let cores = node.cores.isEmpty ? "memory only" : "cores \(node.cores)"
      let free = ByteCount(node.freeBytes)
      // One node has nothing to be distant from.
      let distances =
        facts.nodes.count > 1
        ? "; distances " + node.distances.map(String.init).joined(separator: " ") : ""
      let text = "\(cores), \(ByteCount(node.totalBytes)), \(free) free\(distances)"
      rows.append(["node \(node.index)", text])
    }
    for directory in facts.directories { rows.append([directory.path, describe(directory)]) }
    let width = rows.map { $0[0].count }.max() ?? 0
    let table = rows.map {
      $0[0] + String(repeating: " ", count: width + 2 - $0[0].count) + $0[1]
    }
    let findings = facts.findings.map { "  \($0.subject): \($0.problem); \($0.remedy)" }
    return table + ["", findings.isEmpty ? "nothing is degraded" : "degraded:"] + findings
  }

  private func describe(_ processor: MachineFacts.Processor) -> String {
    let vectors = (processor.hasAVX2 ? ", AVX2" : "") + (processor.hasAVX512 ? ", AVX-512" : "")
    return "\(processor.model), \(processor.logicalCores) cores\(vectors)"
  }

  private func describe(_ memory: MachineFacts.Memory) -> String {
    let limit = memory.mayLockAll ? nil : memory.lockLimitBytes
    let lock = limit.map { "up to \(ByteCount($0))" } ?? "without limit"
    let huge = "\(ByteCount(memory.trialHugeBytes)) of \(ByteCount(memory.trialBytes))"
    return "\(ByteCount(memory.totalBytes)), \(ByteCount(memory.availableBytes)) free; "
      + "locked memory \(lock); \(huge) tried came on huge pages"
  }

  private func describe(_ ring: MachineFacts.Ring) -> String {
    guard ring.isAvailable else { return ring.refusal ?? "refused" }
    let used = ring.used.isEmpty ? "no flags" : ring.used.joined(separator: ", ")
    return "\(ring.features.joined(separator: ", ")); in use: \(used)"
  }

  private func describe(_ directory: DirectoryFacts) -> String {
    guard directory.isDirectory else { return "not a directory" }
    let node = directory.numaNode.map { " beside node \($0)" } ?? ""
    let device = (directory.blockDevice ?? directory.source) + node
    let steps = directory.offsetAlignment.map { " in steps of \($0) bytes" } ?? ""
    let memory = directory.memoryAlignment.map { " from memory aligned to \($0)" } ?? ""
    let direct = directory.hasDirectIO ? "O_DIRECT\(steps)\(memory)" : "no O_DIRECT"
    return "\(directory.fileSystem) on \(device), \(ByteCount(directory.freeBytes)) free, \(direct)"
  }
}
