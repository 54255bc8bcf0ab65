package import Glibc

/// Starts a thread that runs `body` and ends. It begins on the processors of the caller, who joins
/// or detaches it.
///
/// - Parameter name: what the kernel shows, at most 15 bytes.
/// A process that may not have a handful of threads cannot do its work: refusal is a trap.
package func startThread(
  _ name: String, _ body: @escaping @Sendable () -> Void
) -> pthread_t {
  var thread = pthread_t()
  let context = unsafe Unmanaged.passRetained(ThreadBody(body)).toOpaque()
  let code = unsafe pthread_create(
    &thread, nil,
    { context in
      unsafe Unmanaged<ThreadBody>.fromOpaque(context!).takeRetainedValue().run()
      return nil
    }, context)
  precondition(code == 0, "no thread to be had (errno \(code)): raise `ulimit -u`")
  unsafe _ = pthread_setname_np(thread, name)
  return thread
}

private final class ThreadBody: Sendable {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

/// Leaves signals to other threads, but for those that a fault of this thread raises.
package func leaveSignalsToOthers() {
  var others = sigset_t()
  unsafe _ = sigfillset(&others)
  for own in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT] {
    unsafe _ = sigdelset(&others, own)
  }
  unsafe _ = pthread_sigmask(SIG_BLOCK, &others, nil)
}
