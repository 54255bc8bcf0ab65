import Foundation
import Testing

/// Has the kernel answer one system call with an error, for a process that is started in `body`, as
/// the sandbox of a container does.
enum SystemCallFilter {
  /// On x86-64 and on AArch64.
  static let ioUringSetup: UInt32 = 425

  /// A filter is inherited, and never taken off: `body` has a thread of its own, which ends with it.
  static func refusing<Result>(
    _ call: UInt32, with code: Int32, _ body: @escaping @Sendable () throws -> Result
  ) throws -> Result {
    nonisolated(unsafe) var result: Swift.Result<Result, any Error>?
    let isOver = DispatchSemaphore(value: 0)
    Thread {
      unsafe result = Swift.Result {
        try #require(install(call, code), "no seccomp here")
        return try body()
      }
      isOver.signal()
    }.start()
    isOver.wait()
    return try unsafe result!.get()
  }

  /// A step of a filter, as `struct sock_filter` has it.
  private struct Step {
    var code: UInt16
    var ifTrue: UInt8 = 0
    var ifFalse: UInt8 = 0
    var operand: UInt32
  }
  /// `struct sock_fprog`.
  @unsafe private struct Program {
    var count: UInt16
    var steps: UnsafeMutablePointer<Step>
  }

  private static func install(_ call: UInt32, _ code: Int32) -> Bool {
    var steps = [
      Step(code: 0x20, operand: 0),  // load the number of the call
      Step(code: 0x15, ifFalse: 1, operand: call),  // unless it is this one, skip the next step
      Step(code: 0x06, operand: 0x0005_0000 | UInt32(code)),  // SECCOMP_RET_ERRNO
      Step(code: 0x06, operand: 0x7fff_0000),  // SECCOMP_RET_ALLOW
    ]
    // `prctl` takes a variable number of arguments, which Swift cannot call by name.
    typealias Control = @convention(c) (Int32, UInt, UInt, UInt, UInt) -> Int32
    guard let symbol = unsafe dlsym(nil, "prctl") else { return false }
    let prctl = unsafe unsafeBitCast(symbol, to: Control.self)
    return unsafe steps.withUnsafeMutableBufferPointer { steps in
      var program = unsafe Program(count: UInt16(steps.count), steps: steps.baseAddress!)
      return unsafe withUnsafePointer(to: &program) { program in
        let address = UInt(bitPattern: program)
        let (noNewPrivileges, seccomp, filter): (Int32, Int32, UInt) = (38, 22, 2)
        return prctl(noNewPrivileges, 1, 0, 0, 0) == 0 && prctl(seccomp, filter, address, 0, 0) == 0
      }
    }
  }
}
