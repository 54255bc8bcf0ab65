import CLibFuzzer
import Fuzzing
import Glibc

// PAGODA_FUZZ names what is fuzzed; the arguments are libFuzzer's own, since it starts the program
// again with its own to make a crash small. With `seeds DIRECTORY` writes inputs to begin with.

/// A type's, because the C function that libFuzzer calls captures nothing.
enum Chosen {
  static let target: FuzzTarget = {
    let name = unsafe getenv("PAGODA_FUZZ").map { unsafe String(cString: $0) } ?? ""
    guard let target = FuzzTarget(rawValue: name) else { fatalError("no target \(name)") }
    return target
  }()
}

private func writeSeeds(_ directory: String) {
  for (name, bytes) in Chosen.target.seeds {
    guard let file = unsafe fopen("\(directory)/\(name)", "w") else {
      fatalError("cannot write a seed to \(directory)")
    }
    unsafe _ = fwrite(bytes, 1, bytes.count, file)
    unsafe _ = fclose(file)
  }
}

if CommandLine.arguments.count == 3, CommandLine.arguments[1] == "seeds" {
  writeSeeds(CommandLine.arguments[2])
  exit(0)
}
var count = CommandLine.argc
var arguments = unsafe Optional(CommandLine.unsafeArgv)
exit(
  unsafe LLVMFuzzerRunDriver(&count, &arguments) { data, size in
    unsafe Chosen.target.run(Array(UnsafeBufferPointer(start: data, count: size)))
    return 0
  })
