package import Base

/// What is kept of a block: which planes, and how wide.
package struct RecordLayout: Hashable, Codable, Sendable {
  /// Whether the lower halves of the weights are kept, so that the master is fp32.
  package let hasLowHalves: Bool
  package let states: StatePrecision
  /// Moments per parameter: two of AdamW, one of momentum methods.
  package let moments: Int
  /// Of second moments that are factored: floats of a block.
  package let factors: Int

  package init(
    hasLowHalves: Bool = true, states: StatePrecision = .fp32, moments: Int = 2, factors: Int = 0
  ) {
    precondition(0 <= moments && moments <= 2, "none, one or two moments")
    self.factors = factors
    self.hasLowHalves = hasLowHalves
    self.states = states
    self.moments = moments
  }
}

/// Bytes of one block's planes on disk, each padded to the unit of the disk.
package struct BlockBytes: Hashable, Codable, Sendable {
  private static let unit = 4096

  /// The upper halves of the weights: all that the forward sweep needs.
  package let hi: Int
  package let lo: Int
  /// All moments together.
  package let moments: Int

  package init(parameters: Int, _ layout: RecordLayout) {
    precondition(parameters > 0, "a block has parameters")
    hi = roundUp(parameters * 2, to: Self.unit)
    lo = layout.hasLowHalves ? hi : 0
    moments =
      layout.moments * roundUp(layout.states.byteCount(parameters), to: Self.unit)
      + roundUp(StatePrecision.fp32.byteCount(layout.factors), to: Self.unit)
  }

  package var record: Int { hi + lo + moments }
}

/// Bytes that one step moves.
package struct StepTraffic: Hashable, Codable, Sendable {
  package var readBytes: Int
  package var writtenBytes: Int

  /// Two sweeps over the touched blocks: forward reads `hi`, backward reads the record, each
  /// touched block is written once.
  ///
  /// - Parameters:
  ///   - touched: blocks with at least one token.
  ///   - virgin: those of them that were never written: nothing is read for them.
  ///   - forwardHits: blocks whose `hi` was resident when the forward sweep came, virgin ones
  ///     aside.
  ///   - backwardHits: blocks of which only `hi` was still resident when the backward sweep came.
  ///   - residentRecords: blocks of which all was resident when the backward sweep came.
  ///   - unwritten: blocks that stay resident and dirty over the end of the step.
  package init(
    _ block: BlockBytes, touched: Int, virgin: Int = 0, forwardHits: Int = 0, backwardHits: Int = 0,
    residentRecords: Int = 0, unwritten: Int = 0
  ) {
    let stored = touched - virgin
    precondition(virgin >= 0 && stored >= 0, "virgin blocks are touched blocks")
    precondition(0 <= forwardHits && forwardHits <= stored, "hits are touched blocks")
    precondition(backwardHits >= 0 && residentRecords >= 0, "counts")
    precondition(backwardHits + residentRecords <= stored, "hits are touched blocks")
    precondition(0 <= unwritten && unwritten <= touched, "dirty blocks are touched blocks")
    let forward = (stored - forwardHits) * block.hi
    let backward = (stored - residentRecords) * block.record - backwardHits * block.hi
    readBytes = forward + backward
    writtenBytes = (touched - unwritten) * block.record
  }
}

/// The arithmetic of one step's time: what the disk needs, what the cores need, and at how many
/// tokens per expert the disk disappears behind the cores.
///
/// All rates are measured ones (`pagoda bench`); nothing here looks at the machine.
package struct CostModel: Hashable, Codable, Sendable {
  /// Disk, bytes per second.
  package var readRate: Double
  package var writeRate: Double
  /// Grouped matrix products, floating-point operations per second.
  package var arithmeticRate: Double
  /// Optimizer, parameters per second.
  package var updateRate: Double
  /// Operations per parameter and token: 2 forward, 4 backward, 2 for computing the forward again.
  package var operationsPerParameter = 8.0

  package init(readRate: Double, writeRate: Double, arithmeticRate: Double, updateRate: Double) {
    precondition(readRate > 0 && writeRate > 0, "the disk moves")
    precondition(arithmeticRate > 0 && updateRate > 0, "the cores move")
    self.readRate = readRate
    self.writeRate = writeRate
    self.arithmeticRate = arithmeticRate
    self.updateRate = updateRate
  }

  /// Seconds of the disk. Reads and writes are added: a drive is not assumed to do both at full
  /// rate.
  package func ioSeconds(_ traffic: StepTraffic) -> Double {
    Double(traffic.readBytes) / readRate + Double(traffic.writtenBytes) / writeRate
  }

  /// Seconds of the cores for the experts; attention is not in it, so this is a lower bound.
  ///
  /// - Parameters:
  ///   - routedTokens: (token, expert) pairs over all layers.
  ///   - parameters: of one expert.
  package func computeSeconds(routedTokens: Int, parameters: Int) -> Double {
    operationsPerParameter * Double(routedTokens) * Double(parameters) / arithmeticRate
  }

  /// Seconds of the optimizer.
  package func updateSeconds(parametersTouched: Int) -> Double {
    Double(parametersTouched) / updateRate
  }

  /// A step takes at least so long: the slower of the disk and the cores.
  package func stepSecondsMin(
    _ traffic: StepTraffic, routedTokens: Int, parameters: Int, parametersTouched: Int
  ) -> Double {
    max(
      ioSeconds(traffic),
      computeSeconds(routedTokens: routedTokens, parameters: parameters)
        + updateSeconds(parametersTouched: parametersTouched))
  }

  /// Tokens per touched expert and step from which on the disk is hidden behind the arithmetic:
  /// m* = (F / phi) (r / R + w / W). Independent of the number and size of experts and layers.
  ///
  /// - Parameters:
  ///   - readBytes: bytes read per touched parameter and step; fractions occur (scales).
  ///   - writtenBytes: bytes written per touched parameter and step.
  package func hidingTokens(readBytes: Double, writtenBytes: Double) -> Double {
    arithmeticRate / operationsPerParameter * (readBytes / readRate + writtenBytes / writeRate)
  }

  /// The same for blocks of a known size without hits, padding included.
  package func hidingTokens(_ block: BlockBytes, parameters: Int) -> Double {
    let traffic = StepTraffic(block, touched: 1)
    return hidingTokens(
      readBytes: Double(traffic.readBytes) / Double(parameters),
      writtenBytes: Double(traffic.writtenBytes) / Double(parameters))
  }
}

/// The expected share of experts that get at least one of `tokens` tokens, each of which goes to
/// `active` of `experts`, evenly: 1 - (1 - k/E)^T.
package func touchedShare(experts: Int, active: Int, tokens: Int) -> Double {
  precondition(0 < active && active <= experts, "experts are active")
  precondition(tokens >= 0, "tokens are counted")
  let missed = 1 - Double(active) / Double(experts)
  var (power, base, exponent) = (1.0, missed, tokens)
  while exponent > 0 {
    if exponent & 1 == 1 { power *= base }
    base *= base
    exponent >>= 1
  }
  return 1 - power
}

/// Steps until a drive has taken the bytes it is rated for.
package func stepsOfWear(ratedBytesWritten: Double, _ traffic: StepTraffic) -> Double {
  precondition(traffic.writtenBytes > 0, "steps that write nothing wear nothing")
  return ratedBytesWritten / Double(traffic.writtenBytes)
}
