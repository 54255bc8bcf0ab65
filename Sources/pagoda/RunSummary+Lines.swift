import Base
import Training

extension RunSummary {
  /// The summary for people.
  func lines() -> [String] {
    var rows: [[String]] =
      [
        ["steps", "\(steps), \(tokens) tokens in \(fixed(training_seconds, 0)) s"],
        [
          "experts",
          "\(millions(expert_parameters)) parameters, \(ByteCount(expert_state_bytes)) of weights "
            + "and moments in the store",
        ],
        ["dense part", "\(millions(dense_parameters)) parameters"],
        [
          "held-out loss",
          (heldout_loss.map { fixed($0, 4) } ?? "-") + " nats per target token; unigram entropy "
            + fixed(unigram_entropy, 4),
        ],
        ["paged", "\(ByteCount(read_bytes)) in, \(ByteCount(write_bytes)) out"],
      ] + pathRows() + [
        ["hit rate", "\(fixed(100 * hit_rate, 1)) %"],
        ["stall share", "\(fixed(100 * stall_share, 1)) % of the step waited for the disk"],
        [
          "peak memory",
          "\(ByteCount(peak_rss_bytes)) of \(ByteCount(memory_budget_bytes)), everything included",
        ],
      ]
    if let commits {
      rows.append([
        "commits",
        "\(commits.count), each durable in \(fixed(commits.seconds_median, 2)) s, of which training "
          + "paused \(fixed(1000 * commits.pause_seconds_median, 1)) ms (at most "
          + "\(fixed(1000 * commits.pause_seconds_max, 1)) ms)",
      ])
    }
    for (name, mean) in [
      ("translation", translations?.all), ("  other scripts", translations?.into_other_scripts),
    ] {
      guard let mean else { continue }
      rows.append([
        name,
        "chrF \(fixed(mean.chrf, 1)), copying the source \(fixed(mean.copy_chrf, 1)); BLEU "
          + "\(fixed(mean.bleu, 1)), copying \(fixed(mean.copy_bleu, 1)); means of "
          + "\(mean.directions) directions",
      ])
    }
    rows.append(["run", run])
    let width = rows.map { $0[0].count }.max() ?? 0
    return [""]
      + rows.map { $0[0] + String(repeating: " ", count: width + 2 - $0[0].count) + $0[1] }
      + byTask() + samples()
  }

  /// Where there are several: what each took.
  private func pathRows() -> [[String]] {
    guard paths.count > 1 else { return [] }
    let sums = paths.reduce((1, 1)) { ($0.0 + $1.read_bytes, $0.1 + $1.write_bytes) }
    return paths.map {
      [
        "  \($0.path)",
        "\(percent($0.read_bytes, sums.0)) of what came in, \(percent($0.write_bytes, sums.1)) of "
          + "what went out",
      ]
    }
  }

  private func percent(_ part: Int, _ whole: Int) -> String {
    "\(fixed(100 * Double(part) / Double(whole), 1)) %"
  }

  private func byTask() -> [String] {
    guard !heldout_loss_by_task.isEmpty else { return [] }
    let sorted = heldout_loss_by_task.sorted { $0.value < $1.value }
    let below = sorted.count { $0.value < unigram_loss_by_task[$0.key] ?? 0 }
    func cell(_ task: (key: String, value: Double)) -> String {
      "\(task.key) \(fixed(task.value, 2)) of \(fixed(unigram_loss_by_task[task.key] ?? 0, 2))"
    }
    return [
      "",
      "held-out loss by task, of what its target language's token frequencies score: \(below) of "
        + "\(sorted.count) below (all in summary.json)",
      "  lowest   " + sorted.prefix(3).map(cell).joined(separator: ", "),
      "  highest  " + sorted.suffix(3).map(cell).joined(separator: ", "),
    ]
  }

  private func samples() -> [String] {
    (translations?.samples ?? []).flatMap {
      [
        "", "\($0.direction)  \($0.source)", "  reference    \($0.reference)",
        "  translation  \($0.translation)",
      ]
    }
  }

  private func millions(_ count: Int) -> String { "\(fixed(Double(count) / 1e6, 1)) M" }
}
