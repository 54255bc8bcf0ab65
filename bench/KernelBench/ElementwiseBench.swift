import ArgumentParser
import BenchHarness
import Kernels
import Layers

/// Everything that is no product: against the memory where it only moves numbers, against a large
/// product where it multiplies.
struct ElementwiseBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "elementwise",
    abstract: "Softmax, norms, gather, activations, loss and attention against their ceilings.",
    discussion: """
      Bytes count every operand once for each read and write; the ceilings are those of `adam`, \
      over as many bytes as three of the matrices have. Attention's core and the loss, which are \
      products for the most part, are compared with OpenBLAS's own large product. What uses AVX-512 \
      where there is some is measured without it, too.
      """)

  @Option(help: "Rows of the matrices.") var rows = 16384
  @Option(help: "Columns of the matrices.") var columns = 1024
  @Option(help: "Tokens of a sequence, of attention.") var sequence = 512
  @Option(help: "Vocabulary, of the loss.") var vocabulary = 32128
  @Option(help: "Rows and columns of the large product.") var large = 2048
  @Option(help: "Threads: two contests for each number.") var threads = Counts([2])
  @Option(help: "Rounds that count.") var rounds = 7

  func validate() throws {
    guard min(rows, columns, sequence, vocabulary, large, rounds) > 0, columns % 64 == 0 else {
      throw ValidationError("sizes are positive, and columns whole heads of 64")
    }
  }

  func run() throws {
    for threads in threads.values {
      let workers = Workers(count: threads)
      try run(
        "elementwise", "\(rows) x \(columns), \(threads) threads", "GB/s",
        StreamCeiling.all(bytes: 12 * rows * columns, on: workers),
        MemoryLoops(rows: rows, columns: columns, workers).entrants)
      try run(
        "attention and loss",
        "sequences of \(sequence), width \(columns), vocabulary \(vocabulary), \(threads) threads",
        "GFLOP/s", ProductCeiling.all(size: large, on: workers),
        attention(workers) + [loss(workers)])
    }
  }

  private func run(
    _ bench: String, _ subject: String, _ unit: String, _ ceilings: [Entrant],
    _ entrants: [Entrant]
  ) throws {
    var contest = Contest(bench: bench, subject: subject, unit: unit, rounds: rounds)
    contest.ceilings = Set(ceilings.map(\.name))
    try contest.run(ceilings + entrants).print()
  }

  /// Four sequences; forward two products a head, backward five.
  private func attention(_ workers: Workers) -> [Entrant] {
    let attention = Attention(
      heads: columns / 64, headWidth: 64, keysMax: sequence, workers: workers)
    let spans = (0..<4).map { index -> AttentionSpan in
      let rows = index * sequence..<(index + 1) * sequence
      return AttentionSpan(queries: rows, keys: rows)
    }
    let inputs = (1...4).map { filled(4 * sequence, columns, seed: $0) }
    let outputs = (0..<4).map { _ in Matrix(rows: 4 * sequence, columns: columns) }
    let product = 2 * 4 * Double(sequence * sequence) * Double(columns)
    return [
      Entrant("attention forward") {
        let time = seconds {
          attention.forward(
            inputs[0], inputs[1], inputs[2], spans: spans, isCausal: false, into: outputs[0])
        }
        return Outcome(rate: 2 * product / time / 1e9, checksum: sample(outputs[0]))
      },
      Entrant("attention backward") {
        let time = seconds {
          attention.backward(
            inputs[0], inputs[1], inputs[2], spans: spans, isCausal: false, context: outputs[0],
            dcontext: inputs[3], dq: outputs[1], dk: outputs[2], dv: outputs[3])
        }
        return Outcome(rate: 5 * product / time / 1e9, checksum: sample(outputs[1]))
      },
    ]
  }

  /// Logits, their gradient into x, and into the embedding: three products.
  private func loss(_ workers: Workers) -> Entrant {
    let rows = 256
    let loss = CrossEntropy(vocabulary: vocabulary, smoothing: 0)
    let (x, embedding) = (
      filled(rows, columns, seed: 1), filled(vocabulary, columns, seed: 2)
    )
    let (dx, dembedding) = (
      Matrix(rows: rows, columns: columns), Matrix(rows: vocabulary, columns: columns)
    )
    let targets = (0..<rows).map { Int32($0 * 31 % vocabulary) }
    return Entrant("loss, forward and backward") {
      let time = seconds {
        _ = loss.forwardBackward(
          x, targets: targets, embedding: embedding, scale: 1, dx: dx, dembedding: dembedding,
          on: workers)
      }
      let flops = 6 * Double(rows) * Double(vocabulary) * Double(columns)
      return Outcome(rate: flops / time / 1e9, checksum: sample(dx))
    }
  }
}
