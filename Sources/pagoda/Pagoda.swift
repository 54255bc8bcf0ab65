import ArgumentParser
import Base
import Foundation

@main
struct Pagoda: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pagoda",
    abstract: "Train mixture-of-experts transformers far larger than memory.",
    discussion: """
      Expert weights and optimizer states live on disk and are paged through memory while the
      model is trained layer by layer.

        pagoda train tools/examples/quickstart.yaml --run runs/mine --memory 512MiB
        echo 'Save the page' | pagoda translate runs/mine --to de
        pagoda bench swap --path /mnt/nvme --size 8GiB
      """,
    version: "0.1.0",
    subcommands: [
      Train.self, Translate.self, Generate.self, Evaluate.self, CorpusCommand.self, Bench.self,
      StoreCommand.self,
      ExpertCommand.self, Export.self, Import.self, Doctor.self,
    ])

  static func main() {
    // A file beyond `ulimit -f` is to be an error with its name, not the end without a word.
    signal(SIGXFSZ, SIG_IGN)
    main(nil)
  }
}

extension ByteCount: ExpressibleByArgument {
  init?(argument: String) { self.init(parsing: argument) }
}
