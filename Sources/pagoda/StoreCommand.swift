import ArgumentParser
import Base
import DirectIO
import Foundation
import Storage
import Training

struct StoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "store", abstract: "Look into a store, check it, and look after it.",
    discussion: """
      A store is the directory that `pagoda train` was given with --store, or `store` in its run
      directory. info, verify and snapshot work while somebody trains with it.

        pagoda store info runs/mine/store
        pagoda store verify runs/mine/store
        pagoda store rollback runs/mine/store 150
        pagoda store snapshot runs/mine/store /backup/mine
        pagoda store drain runs/mine/store /mnt/nvme1/mine
      """,
    subcommands: [
      Info.self, Verify.self, Rollback.self, Compact.self, Drain.self, Snapshot.self,
    ])
}

/// Which store a command is about.
struct StorePlace: ParsableArguments {
  @Argument(
    help: ArgumentHelp(
      "The store's first directory; further ones are known to it.", valueName: "store"))
  var first: String

  @Option(help: "All its directories, where they are not where the store knows them to be.")
  var store: [String] = []

  private func directories() throws -> [String] {
    store.isEmpty ? try Store.directories(of: first) : store
  }

  func openReadOnly() throws -> Store {
    try Store.openReadOnly(paths: directories(), disk: openDisk(queueDepth: 32).disk)
  }

  func openAlone() throws -> Store {
    try Store.openAlone(paths: directories(), disk: openDisk(queueDepth: 32).disk)
  }
}

/// Shows how far bytes have come.
struct ByteProgress {
  private let what: String
  private var line = ProgressLine()
  private let start = ContinuousClock.now

  init(_ what: String) { self.what = what }

  mutating func show(_ done: Int, _ total: Int) {
    let rate = Double(done) / max((ContinuousClock.now - start).seconds, 1e-9) / 1e9
    line.show("\(what) \(ByteCount(done)) of \(ByteCount(total)), \(fixed(rate, 2)) GB/s")
  }

  mutating func finish() { line.finish() }
}

extension StoreCommand {
  struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Generations, sizes by plane and layer, what was never written, and wear.")
    @OptionGroup var place: StorePlace
    @Flag(help: "Print one JSON object.") var json = false

    func run() throws {
      try reportingFailures {
        let inventory = StoreInventory(try place.openReadOnly())
        if json { return try Output.json(inventory) }
        for line in inventory.lines() { Output.result(line) }
      }
    }
  }

  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Read every record and compare it with its checksums.",
      discussion: "Ends with 65 and the names of what is damaged, if anything is.")
    @OptionGroup var place: StorePlace
    @Flag(help: "Print one JSON object.") var json = false

    func run() throws {
      try reportingFailures {
        let store = try place.openReadOnly()
        var progress = ByteProgress("verified")
        let report = try store.scrub { progress.show($0, $1) }
        progress.finish()
        if json {
          try Output.json(report)
        } else {
          for line in lines(report) { Output.result(line) }
        }
        if !report.isWhole { throw ExitCode(ExitStatus.badData) }
      }
    }

    private func lines(_ report: ScrubReport) -> [String] {
      let found = report.damaged.map { record in
        let what =
          record.cause
          ?? "plane \(record.planes.joined(separator: ", ")): not what was written"
        return "damaged: \(record.block): \(record.path) at offset \(record.offset), "
          + "\(record.length) bytes: \(what); in generations "
          + record.generations.map(String.init).joined(separator: ", ")
      }
      let manifest = report.manifestDamage.map { ["damaged: \($0)"] } ?? []
      if report.isWhole {
        return ["whole: \(report.records) records, \(ByteCount(report.bytes))"]
      }
      let whole = report.wholeGenerations.map(String.init).joined(separator: ", ")
      return found + manifest
        + [
          "\(report.damaged.count) of \(report.records) records are damaged; whole generations: "
            + (whole.isEmpty ? "none" : "\(whole) (pagoda store rollback)")
        ]
    }
  }

  struct Rollback: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make an older generation the last one.",
      discussion: "Later generations are gone. Training goes on from there.")
    @OptionGroup var place: StorePlace
    @Argument(help: "The step of the generation, as info lists it.") var generation: Int

    func run() throws {
      try reportingFailures {
        try place.openAlone().rollBack(to: generation)
        Output.result("generation \(generation) is the last one")
      }
    }
  }

  struct Compact: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Give back the room of older generations and of writes to come.",
      discussion: "Training makes the files longer again, if there is room then.")
    @OptionGroup var place: StorePlace

    func run() throws {
      try reportingFailures {
        var progress = ByteProgress("moved")
        let given = try place.openAlone().compact { progress.show($0, $1) }
        progress.finish()
        Output.result("\(ByteCount(given)) given back")
      }
    }
  }

  struct Drain: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Move all records away from one directory, so that its drive can go.",
      discussion: "Training goes on without it, by the same command.")
    @OptionGroup var place: StorePlace
    @Argument(help: "The directory to be emptied.") var directory: String

    func run() throws {
      try reportingFailures {
        var progress = ByteProgress("moved")
        try place.openAlone().drain(directory) { progress.show($0, $1) }
        progress.finish()
        Output.result("\(directory) holds nothing of the store any more")
      }
    }
  }

  struct Snapshot: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Copy the last generation into a store of its own, also while somebody trains.",
      discussion: "Train from it with --store, with the same configuration.")
    @OptionGroup var place: StorePlace
    @Argument(help: "The directory of the copy.") var directory: String

    func run() throws {
      try reportingFailures {
        var progress = ByteProgress("copied")
        let generation = try place.openReadOnly().snapshot(to: directory) {
          progress.show($0, $1)
        }
        progress.finish()
        Output.result("generation \(generation.step) is in \(directory)")
      }
    }
  }
}
