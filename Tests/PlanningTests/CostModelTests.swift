import Base
import Planning
import Testing

/// The layouts of the published table, bytes read and written per touched parameter and step.
private let fp32 = (14.0, 12.0)
private let bf16 = (10.0, 8.0)
private let int8 = (8.03, 6.03)
private let lowPrecision = (6.03, 4.03)
private let factored = (4.0, 2.0)
private let offloadCopies = (20.0, 18.0)

@Suite struct CostModelTests {
  /// Tokens per touched expert from which the disk is hidden, for five machines: operations per
  /// second in 1e12, disk read and write in GB/s.
  @Test(arguments: [
    (offloadCopies, [319.0, 825, 2800, 2917, 8323]), (fp32, [218, 563, 1900, 1979, 5667]),
    (bf16, [150, 388, 1300, 1354, 3896]), (int8, [117, 301, 1004, 1046, 3024]),
    (lowPrecision, [83, 214, 704, 734, 2138]), (factored, [49, 125, 400, 417, 1240]),
  ])
  func hidingTokensAreThoseOfTheTable(_ bytes: (Double, Double), _ expected: [Double]) {
    let machines = [(0.06, 1.0, 0.8), (0.3, 2, 1.5), (1.2, 3, 1.5), (2.5, 6, 3), (17, 12, 8)]
    for (machine, tokens) in zip(machines, expected) {
      let model = CostModel(
        readRate: machine.1 * 1e9, writeRate: machine.2 * 1e9, arithmeticRate: machine.0 * 1e12,
        updateRate: 1e9)
      let found = model.hidingTokens(readBytes: bytes.0, writtenBytes: bytes.1)
      // The table is rounded to whole tokens.
      #expect(abs(found - tokens) <= 0.501, "\(bytes) on \(machine)")
    }
  }

  /// From the layout itself, for blocks whose padding does not show.
  @Test(arguments: [
    (RecordLayout(), 14.0, 12.0), (RecordLayout(states: .bf16), 10, 8),
    (RecordLayout(states: .int8), 8.03125, 6.03125),
    (RecordLayout(hasLowHalves: false, states: .int8), 6.03125, 4.03125),
    (RecordLayout(hasLowHalves: false, states: .bf16, moments: 1), 6, 4),
    (RecordLayout(hasLowHalves: false, moments: 0), 4, 2),
    (RecordLayout(moments: 0, factors: 1 << 10), 6.00390625, 4.00390625),
  ])
  func layoutsHaveTheBytesOfTheTable(_ layout: RecordLayout, _ read: Double, _ written: Double) {
    let parameters = 1 << 20
    let traffic = StepTraffic(BlockBytes(parameters: parameters, layout), touched: 1)
    #expect(Double(traffic.readBytes) / Double(parameters) == read)
    #expect(Double(traffic.writtenBytes) / Double(parameters) == written)
  }

  @Test func planesArePadded() {
    let block = BlockBytes(parameters: 3000, RecordLayout())
    #expect(block.hi == 8192 && block.lo == 8192)
    #expect(block.moments == 2 * 12288)
    #expect(block.record == 8192 * 2 + 12288 * 2)
  }

  @Test func hitsAndVirginsAreNotRead() {
    let block = BlockBytes(parameters: 1024, RecordLayout(states: .bf16))  // planes of 4096
    #expect(block.hi == 4096 && block.record == 16384)
    let full = StepTraffic(block, touched: 10)
    #expect(full.readBytes == 10 * (4096 + 16384) && full.writtenBytes == 10 * 16384)
    let less = StepTraffic(
      block, touched: 10, virgin: 2, forwardHits: 3, backwardHits: 4, residentRecords: 1,
      unwritten: 1)
    #expect(less.readBytes == 5 * 4096 + 7 * 16384 - 4 * 4096)
    #expect(less.writtenBytes == 9 * 16384)
    let virgin = StepTraffic(block, touched: 5, virgin: 5)
    #expect(virgin.readBytes == 0 && virgin.writtenBytes == 5 * 16384)
  }

  /// The example of a machine with one core at 0.09e12 operations per second.
  @Test func theExampleOfOneCore() {
    var model = CostModel(
      readRate: 1.8e9, writeRate: 1.5e9, arithmeticRate: 0.09e12, updateRate: 1.5e9)
    #expect(Int(model.hidingTokens(readBytes: 14, writtenBytes: 12).rounded()) == 178)
    model.readRate = 0.9e9
    #expect(Int(model.hidingTokens(readBytes: 14, writtenBytes: 12).rounded()) == 265)
  }

  /// At m* the disk and the arithmetic take equally long; below it the disk decides, above it the
  /// cores.
  @Test func theConditionAgreesWithTheTimes() {
    let model = CostModel(readRate: 1e9, writeRate: 0.8e9, arithmeticRate: 6e10, updateRate: 1e12)
    let parameters = 1 << 20
    let block = BlockBytes(parameters: parameters, RecordLayout())
    let traffic = StepTraffic(block, touched: 8)
    let tokens = model.hidingTokens(block, parameters: parameters)
    let hidden = model.computeSeconds(routedTokens: Int(tokens) * 8, parameters: parameters)
    #expect(abs(hidden / model.ioSeconds(traffic) - 1) < 0.01)
    func step(_ tokens: Int) -> Double {
      model.stepSecondsMin(
        traffic, routedTokens: tokens, parameters: parameters, parametersTouched: 8 * parameters)
    }
    #expect(step(8) == model.ioSeconds(traffic))
    let many = 16 * Int(tokens)
    #expect(step(many) > model.ioSeconds(traffic))
    let update = model.updateSeconds(parametersTouched: 8 * parameters)
    #expect(step(many) == model.computeSeconds(routedTokens: many, parameters: parameters) + update)
  }

  @Test func touchedSharesFollowTheFormula() {
    #expect(touchedShare(experts: 8, active: 2, tokens: 0) == 0)
    #expect(touchedShare(experts: 8, active: 2, tokens: 1) == 0.25)
    #expect(touchedShare(experts: 8, active: 2, tokens: 2) == 0.4375)
    #expect(touchedShare(experts: 4, active: 4, tokens: 1) == 1)
    #expect(touchedShare(experts: 4096, active: 2, tokens: 1 << 20) > 0.999)
  }

  /// 1 T parameters write 12 TB a step; a drive rated for 14 PB lasts about 1,170 steps.
  @Test func wearIsThatOfTheExample() {
    let block = BlockBytes(parameters: 1 << 20, RecordLayout())
    let traffic = StepTraffic(block, touched: 1_000_000_000_000 >> 20)
    #expect(abs(stepsOfWear(ratedBytesWritten: 14.016e15, traffic) - 1168) < 2)
  }
}
