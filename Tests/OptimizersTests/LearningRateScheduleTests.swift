import Optimizers
import Testing

@Suite struct LearningRateScheduleTests {
  typealias Shape = LearningRateSchedule.Shape

  private func schedule(_ shape: Shape) -> LearningRateSchedule {
    LearningRateSchedule(shape, peak: 2, warmupSteps: 10, totalSteps: 110, minimumRatio: 0.1)
  }
  private func isClose(_ a: Double, _ b: Double) -> Bool { abs(a - b) < 1e-12 }

  @Test(arguments: Shape.allCases) func warmsUpToThePeak(shape: Shape) {
    let schedule = schedule(shape)
    #expect(isClose(schedule.rate(1), 0.2))
    #expect(isClose(schedule.rate(5), 1))
    #expect(isClose(schedule.rate(10), 2))
  }

  @Test func followsItsShape() {
    #expect(schedule(.constant).rate(1000) == 2)
    #expect(isClose(schedule(.linear).rate(61), 2 * (0.1 + 0.9 * 0.5)))
    #expect(isClose(schedule(.cosine).rate(61), 2 * (0.1 + 0.9 * 0.5)))
    #expect(isClose(schedule(.cosine).rate(36), 2 * (0.1 + 0.45 * (1 + 0.5.squareRoot()))))
    #expect(isClose(schedule(.inverseSqrt).rate(40), 1))
  }

  /// As transformers' schedule has it.
  @Test func everyStepLearns() {
    let schedule = LearningRateSchedule(.linear, peak: 4, warmupSteps: 0, totalSteps: 4)
    #expect((1...5).map(schedule.rate) == [4, 3, 2, 1, 0])
  }

  @Test func staysAtItsEnd() {
    for step in [111, 112, 5000] {
      #expect(isClose(schedule(.linear).rate(step), 0.2))
      #expect(isClose(schedule(.cosine).rate(step), 0.2))
    }
    #expect(isClose(schedule(.inverseSqrt).rate(100_000), 0.2))
  }

  @Test(arguments: Shape.allCases) func withoutWarmUpStartsAtThePeak(shape: Shape) {
    let schedule = LearningRateSchedule(shape, peak: 1, warmupSteps: 0, totalSteps: 1000)
    #expect(schedule.rate(1) > 0.99)
    #expect(schedule.rate(2) <= schedule.rate(1))
  }

  @Test func namesAreThoseOfTheConfig() {
    #expect(Shape(rawValue: "inverse_sqrt") == .inverseSqrt)
  }
}
