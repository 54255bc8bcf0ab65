import ArgumentParser
import Foundation
import Goldens

/// How far what Pagoda computes of a checkpoint is from what transformers computes of it.
@main
struct CheckGolden: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check-golden",
    abstract: "Compare a checkpoint's logits, losses, gradients and optimizer steps with goldens.",
    discussion: """
      Imports the checkpoint in a folder into stores of its own, with all experts in memory and with
      the fewest page frames that paging can do with, and prints the largest difference of each
      quantity as JSON. Exits 0 when all are inside the tolerances and both give the same bits, 1
      when not, 65 when the folder cannot be read.
      """)

  @Argument(help: "The folder: config.json, weights, golden.json and golden.safetensors.")
  var folder: String

  @Option(help: "Where the goldens are, when the weights are in another container than theirs.")
  var golden: String?

  @Option(help: "Slices to cut each expert into.")
  var slices = 1

  func run() throws {
    let report: GoldenReport
    do {
      let golden = try Golden(folder: folder, values: golden ?? Self.goldens(of: folder))
      report = try Comparison(golden, slices: slices).run()
    } catch {
      FileHandle.standardError.write(Data("check-golden: \(error)\n".utf8))
      throw ExitCode(65)
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(report), as: UTF8.self))
    if !report.passed { throw ExitCode(1) }
  }

  /// The folder itself, or the one beside it whose name its own begins with: `x-sharded` has the
  /// weights of `x`.
  private static func goldens(of folder: String) -> String? {
    let url = URL(fileURLWithPath: folder).standardizedFileURL
    func has(_ url: URL) -> Bool {
      ["golden.json", "golden.bf16.json"].contains {
        FileManager.default.fileExists(atPath: url.appendingPathComponent($0).path)
      }
    }
    var name = url.lastPathComponent
    if has(url) { return nil }
    while let dash = name.lastIndex(of: "-") {
      name = String(name[..<dash])
      let other = url.deletingLastPathComponent().appendingPathComponent(name)
      if has(other) { return other.path }
    }
    return nil
  }
}
