import Dispatch
import Foundation
import Synchronization

/// SIGINT, SIGTERM and SIGUSR1 ask the run to stop after its step; a second SIGINT ends it now,
/// which loses nothing that was committed.
///
/// @unchecked Sendable: the sources are set once, before anybody else sees them.
final class StopSignals: @unchecked Sendable {
  private let asked = Atomic<Bool>(false)
  private let sources: [any DispatchSourceSignal]

  var wasAsked: Bool { asked.load(ordering: .relaxed) }

  static func install() -> StopSignals { StopSignals() }

  private init() {
    let queue = DispatchQueue(label: "signals")
    let numbers = [SIGINT, SIGTERM, SIGUSR1]
    for number in numbers { signal(number, SIG_IGN) }
    sources = numbers.map { DispatchSource.makeSignalSource(signal: $0, queue: queue) }
    for (number, source) in zip(numbers, sources) {
      source.setEventHandler { [weak self] in
        guard let self else { return }
        let again = asked.exchange(true, ordering: .relaxed)
        if again && number == SIGINT { _exit(128 + SIGINT) }
        Output.say(
          "\nstopping after this step; run the same command to continue"
            + (number == SIGINT ? " (again to stop now)" : ""))
      }
      source.resume()
    }
  }
}
