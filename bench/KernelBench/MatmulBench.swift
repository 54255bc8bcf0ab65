import ArgumentParser
import BenchHarness
import Kernels

/// The products of experts by the number of tokens, against a large product of OpenBLAS.
struct MatmulBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "matmul", abstract: "Expert products against OpenBLAS's own large product.",
    discussion: """
      `forward` and `backward` are an expert's layer as it is trained, activation included; \
      `products` are its matrix products alone. Ceilings, in the same rounds with as many threads: \
      one large product by OpenBLAS's own threads, and one on each worker at once.
      """)

  @Option(help: "Tokens of the expert.") var rows = Counts([16, 32, 64, 128, 256, 512, 1024])
  @Option(help: "switch-base, mixtral or tiny, comma-separated.") var shapes = "switch-base,mixtral"
  @Option(help: "Threads: a contest for each number.") var threads = Counts([1, 2])
  @Option(help: "Rows and columns of the large product.") var large = 2048
  @Option(help: "Rounds that count.") var rounds = 7
  @Option(help: "Work of a turn, 1e9 operations at least: small products are repeated.")
  var gigaflops = 5.0

  func validate() throws {
    guard rounds > 0, large > 0, gigaflops > 0 else {
      throw ValidationError("--rounds, --large and --gigaflops are positive")
    }
    guard chosen.count == shapes.split(separator: ",").count else {
      throw ValidationError(
        "known shapes are \(BenchShape.all.map(\.name).joined(separator: ", "))")
    }
  }

  private var chosen: [BenchShape] {
    shapes.split(separator: ",").compactMap { name in BenchShape.all.first { $0.name == name } }
  }

  func run() throws {
    for shape in chosen {
      for threads in threads.values {
        let workers = Workers(count: threads)
        var contest = Contest(
          bench: "matmul",
          subject: "\(shape.name), \(shape.width) x \(shape.hidden), \(threads) threads",
          unit: "GFLOP/s", rounds: rounds)
        let ceilings = ProductCeiling.all(size: large, on: workers)
        contest.ceilings = Set(ceilings.map(\.name))
        var report = try contest.run(
          ceilings + rows.values.flatMap { entrants(shape, rows: $0, workers) })
        report.figures = leastRatios(report)
        try report.print()
      }
    }
  }

  /// From 256 tokens up, where products should be as good as large ones.
  private func leastRatios(_ report: ContestReport) -> [String: Double] {
    func least(_ words: String) -> Double? {
      rows.values.filter { $0 >= 256 }.compactMap { report["\(words) \($0)"]?.ratio }.min()
    }
    let forward = least("products forward")
    let backward = least("products backward")
    return [
      "least_ratio_products_from_256": [forward, backward].compactMap { $0 }.min(),
      "least_ratio_layer_from_256":
        [least("forward"), least("backward")].compactMap { $0 }.min(),
    ].compactMapValues { $0 }
  }

  private func entrants(_ shape: BenchShape, rows: Int, _ workers: Workers) -> [Entrant] {
    let expert = ExpertProducts(shape, rows: rows, workers)
    func entrant(_ name: String, _ products: Int, _ body: @escaping () -> Void) -> Entrant {
      let flops = shape.flops(rows: rows, products: products)
      let repetitions = max(1, Int(gigaflops * 1e9 / flops))
      return Entrant("\(name) \(rows)") {
        let time = seconds { for _ in 0..<repetitions { body() } }
        return Outcome(
          rate: Double(repetitions) * flops / time / 1e9, checksum: expert.checksum)
      }
    }
    return [
      entrant("products forward", shape.forwardProducts, expert.forwardProducts),
      entrant("products backward", shape.backwardProducts, expert.backwardProducts),
      entrant("forward", shape.forwardProducts, expert.forward),
      entrant("backward", shape.backwardProducts, expert.backward),
    ]
  }
}
