import Base
import Glibc

/// What fio prints with `--output-format=json`, as far as it is used.
package struct FioOutput: Decodable, Sendable {
  package struct Side: Decodable, Sendable {
    package let bytes: Int
    package let bytesPerSecond: Double

    private enum CodingKeys: String, CodingKey {
      case bytes = "io_bytes"
      case bytesPerSecond = "bw_bytes"
    }
  }

  package struct Job: Decodable, Sendable {
    package let error: Int
    package let milliseconds: Double
    /// Percent of the job's time.
    package let userPercent: Double
    package let systemPercent: Double
    package let read: Side
    package let write: Side

    private enum CodingKeys: String, CodingKey {
      case error, read, write
      case milliseconds = "job_runtime"
      case userPercent = "usr_cpu"
      case systemPercent = "sys_cpu"
    }
  }

  package let version: String
  package let jobs: [Job]

  private enum CodingKeys: String, CodingKey {
    case jobs
    case version = "fio version"
  }
}

/// The program fio, as the other side of a duel.
struct Fio {
  /// Reads the JSON; the caller has a decoder.
  typealias Decode = @Sendable (_ json: String) -> FioOutput?

  let program: String
  /// Options beyond those that make both sides equal, such as `fixedbufs=1`.
  let options: [String]
  let decode: Decode

  /// Runs one job on a file that is there.
  ///
  /// Everything not named is fio's default: one process, buffers of its own of one request for each
  /// that is under way, filled with random data once; no fsync. Its figures leave its start out.
  func run(_ load: Load, path: String, fileBytes: Int, isDirect: Bool, seconds: Double)
    throws(ProbeError) -> FioOutput
  {
    let pattern =
      switch load.writeShare {
      case 0: ["--rw=read"]
      case 1: ["--rw=write"]
      default: ["--rw=rw", "--rwmixwrite=\(Int((100 * load.writeShare).rounded()))"]
      }
    let command =
      [program, "--name=pagoda", "--filename=\(path)", "--size=\(fileBytes)"] + pattern + [
        "--bs=\(load.requestBytes)", "--ioengine=io_uring", "--iodepth=\(load.queueDepth)",
        "--direct=\(isDirect ? 1 : 0)", "--time_based", "--runtime=\(Int(seconds * 1000))ms",
        "--refill_buffers=0", "--scramble_buffers=0", "--output-format=json", "--eta=never",
      ] + options.map { "--\($0)" }
    guard let (status, text) = runCommand(command) else { throw .noFio }
    // Warnings come before the object.
    let json = text.firstIndex(of: "{").map { String(text[$0...]) } ?? ""
    guard status == 0, let output = decode(json), let job = output.jobs.first, job.error == 0 else {
      throw .fio(command: command.joined(separator: " "), output: trimmed(text[...]))
    }
    guard job.read.bytes + job.write.bytes > 0 else {
      throw .fio(
        command: command.joined(separator: " "), output: "it moved nothing; give more --seconds")
    }
    return output
  }
}

/// Runs a program found in PATH to its end.
///
/// - Returns: its exit status (128 + signal when one ended it) and all it printed; nil when there
///   is no such program.
func runCommand(_ command: [String]) -> (status: Int32, output: String)? {
  var ends: [Int32] = [0, 0]
  guard unsafe pipe2(&ends, O_CLOEXEC) == 0 else { return nil }
  var actions = unsafe posix_spawn_file_actions_t()
  unsafe posix_spawn_file_actions_init(&actions)
  defer { unsafe _ = posix_spawn_file_actions_destroy(&actions) }
  unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
  unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO)

  var arguments = unsafe command.map { unsafe strdup($0) } + [nil]
  defer { for index in command.indices { unsafe free(arguments[index]) } }
  var child: pid_t = 0
  let code = unsafe posix_spawnp(&child, command[0], &actions, nil, &arguments, environ)
  _ = close(ends[1])
  let output = code == 0 ? readAll(ends[0]) : ""
  _ = close(ends[0])
  guard code == 0 else { return nil }

  var status: Int32 = 0
  while unsafe waitpid(child, &status, 0) < 0, errno == EINTR {}
  let signal = status & 0x7f
  return (signal == 0 ? (status >> 8) & 0xff : 128 + signal, output)
}

private func readAll(_ descriptor: Int32) -> String {
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = unsafe read(descriptor, &chunk, chunk.count)
    if count < 0, errno == EINTR { continue }
    if count <= 0 { return String(decoding: bytes, as: UTF8.self) }
    bytes += chunk[..<count]
  }
}
