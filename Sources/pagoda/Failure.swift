import ArgumentParser
import Base
import Corpus
import DirectIO
import Foundation
import Interchange
import Kernels
import PinnedMemory
import Planning
import Storage
import Surgery
import Tokenizers
import Training

/// The exit codes of sysexits.h that Pagoda uses.
enum ExitStatus {
  static let usage: Int32 = 64
  static let badData: Int32 = 65
  static let missingInput: Int32 = 66
  static let bug: Int32 = 70
  static let refusedBySystem: Int32 = 71
  static let cannotCreate: Int32 = 73
  static let inputOutput: Int32 = 74
  static let runAgain: Int32 = 75
  static let badConfiguration: Int32 = 78
}

/// Runs a command's body; an error becomes one line on stderr and its exit code.
func reportingFailures(_ body: () throws -> Void) throws {
  do {
    try body()
  } catch let code as ExitCode {
    throw code
  } catch let error as ValidationError {
    throw error
  } catch {
    Output.say(Output.red("error: ") + explain(error))
    throw ExitCode(exitStatus(of: error))
  }
}

private func explain(_ error: any Error) -> String {
  if let refusal = error as? MemoryRefusal {
    let enough = (refusal.ceiling + refusal.missing + (1 << 20) - 1) >> 20
    let ways =
      ["give --memory \(enough)MiB"] + refusal.savings.map { "set \($0)" }
      + ["make the model or its micro-batches smaller"]
    return "\(refusal): " + ways.joined(separator: ", or ")
  }
  return "\(error)"
}

private func exitStatus(of error: any Error) -> Int32 {
  switch error {
  case let error as ConfigError:
    error.isMissingFile ? ExitStatus.missingInput : ExitStatus.badConfiguration
  case is MemoryRefusal, is MemoryError: ExitStatus.refusedBySystem
  case is NoProductLibrary: ExitStatus.missingInput
  case let error as StorageError: error.exitCode
  case let error as CorpusError: exitStatus(of: error)
  case let error as TokenizerError: exitStatus(of: error)
  case let error as TrainingError: exitStatus(of: error)
  case let error as ExchangeError: exitStatus(of: error)
  case is GenerationError: ExitStatus.badData
  case let error as SurgeryError: exitStatus(of: error)
  case let error as InterchangeError: error.exitCode
  case let error as ProbeError: exitStatus(of: error)
  case let error as MemoryProbeError: exitStatus(of: error)
  case is DiskError, is CocoaError: ExitStatus.inputOutput
  default: ExitStatus.bug
  }
}

private func exitStatus(of error: SurgeryError) -> Int32 {
  switch error {
  case .noTask: ExitStatus.usage
  case .noGateByTask, .pruned, .different, .otherStep, .published: ExitStatus.badData
  case .changed: ExitStatus.runAgain
  }
}

private func exitStatus(of error: CorpusError) -> Int32 {
  switch error {
  case .option: ExitStatus.usage
  case .missingInput, .nothingFound: ExitStatus.missingInput
  case .unreadable: ExitStatus.missingInput
  case .languageWithoutData, .notACorpus, .damaged, .tokenizer, .badLine, .noExamples:
    ExitStatus.badData
  case .tooLarge: ExitStatus.refusedBySystem
  case .unwritable: ExitStatus.cannotCreate
  }
}

private func exitStatus(of error: TokenizerError) -> Int32 {
  switch error {
  case .unreadable, .missing: ExitStatus.missingInput
  case .malformed, .unsupported, .unencodable: ExitStatus.badData
  }
}

private func exitStatus(of error: ExchangeError) -> Int32 {
  switch error {
  case .notAnExport: ExitStatus.missingInput
  case .configuredExport: ExitStatus.usage
  case .otherFormat, .otherCorpus, .otherConfiguration, .wrongTensor, .wrongGeometry:
    ExitStatus.badData
  case .occupiedRun, .occupiedStore: ExitStatus.cannotCreate
  case .prunedExport, .factoredMoments: ExitStatus.badData
  case .cannotWrite: ExitStatus.inputOutput
  case .stopped: ExitStatus.runAgain
  }
}

private func exitStatus(of error: ProbeError) -> Int32 {
  switch error {
  case .noDirectory, .noFio: ExitStatus.missingInput
  case .noSpace: ExitStatus.cannotCreate
  case .memory, .noMemory: ExitStatus.refusedBySystem
  case .disk, .wrongData, .fio: ExitStatus.inputOutput
  }
}

private func exitStatus(of error: MemoryProbeError) -> Int32 {
  switch error {
  case .noNode: ExitStatus.usage
  case .noRoom, .memory: ExitStatus.refusedBySystem
  case .wrongSum: ExitStatus.inputOutput
  }
}

private func exitStatus(of error: TrainingError) -> Int32 {
  switch error {
  case .stopped: ExitStatus.runAgain
  case .runBelongsToAnother, .notARun, .storesMoved, .storeNotFresh, .expertTooLarge,
    .importedNotFresh, .notImported, .otherExperts:
    ExitStatus.badConfiguration
  case .nothingToResume, .noRun, .unreadableInput: ExitStatus.missingInput
  case .cannotCreate: ExitStatus.cannotCreate
  case .cannotWrite: ExitStatus.inputOutput
  case .notFinite, .damagedState: ExitStatus.badData
  case .unknownLanguage, .otherTask, .sourceUnknown: ExitStatus.usage
  }
}
