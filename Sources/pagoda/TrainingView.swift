import Base
import Training

/// What a person sees of a run while it goes: a line that rewrites itself, and lasting lines for
/// evaluations.
struct TrainingView {
  private var progress = ProgressLine()
  private var stepSeconds: [Double] = []

  mutating func show(_ event: TrainingEvent) {
    switch event {
    case .opened(let first, let last, let memory):
      let parts = memory.map { "\($0.name) \(ByteCount($0.bytes))" }
      say("memory: " + parts.joined(separator: ", "))
      if first > last {
        say("step \(last) is done already")
      } else if first > 1 {
        say("continuing at step \(first) of \(last)")
      }
    case .note(let text): say("note: \(text)")
    case .step(let metrics, let last):
      progress.show(line(metrics, last), always: metrics.step == last)
    case .evaluated(let report, let entropy):
      say(
        "step \(report.step): held-out loss \(fixed(report.loss, 4)) nats per token "
          + "(unigram entropy \(fixed(entropy, 4)))")
    case .committed(let step, let seconds):
      progress.show("generation \(step) is durable after \(fixed(seconds, 2)) s")
    }
  }

  mutating func finish() { progress.finish() }

  private mutating func say(_ text: String) {
    progress.finish()
    Output.say(text)
  }

  private mutating func line(_ metrics: StepMetrics, _ last: Int) -> String {
    stepSeconds = stepSeconds.suffix(19) + [metrics.step_s]
    let mean = stepSeconds.reduce(0, +) / Double(stepSeconds.count)
    let remaining = Int(mean * Double(last - metrics.step))
    return "step \(metrics.step)/\(last) [<\(clock(remaining))]  loss \(fixed(metrics.loss, 4))  "
      + "\(Int(metrics.tokens_per_s)) tokens/s  in \(fixed(metrics.read_gbps, 2)) out "
      + "\(fixed(metrics.write_gbps, 2)) GB/s  "
      + "stall \(Int(100 * metrics.allStallSeconds / metrics.step_s))%  "
      + "hits \(Int(100 * metrics.hit_rate))%  memory \(ByteCount(metrics.peak_rss_bytes)) of "
      + "\(ByteCount(metrics.memory_budget_bytes))"
  }

  private func clock(_ seconds: Int) -> String {
    func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let (minutes, rest) = (seconds / 60, seconds % 60)
    return minutes < 60
      ? "\(minutes):\(two(rest))" : "\(minutes / 60):\(two(minutes % 60)):\(two(rest))"
  }
}
