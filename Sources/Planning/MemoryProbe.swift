import Base
import Glibc
import Kernels
import PinnedMemory

/// Measures the bandwidth between the processors of each node and the memory of each node.
///
/// Every round runs every loop on every pair of nodes, so that whatever else the machine does hits
/// all of them alike. The first round is not counted: it wakes threads and fills page tables.
package struct MemoryProbe {
  /// Memory nodes; nil is all.
  package var nodes: [Int]?
  /// Of each array; nil is four times the caches, and at least 64 MiB.
  package var arrayBytes: Int?
  package var seconds: Double
  /// Threads on the processors of a node; nil is one for each.
  package var threads: Int?

  private let topology = Topology.current()
  private static let roundsMin = 3
  private static let arrays = 3
  /// What the arrays hold: sums of them are exact.
  private static let (b, c, scale): (Float, Float, Float) = (1, 2, 3)

  package init(nodes: [Int]? = nil, arrayBytes: Int? = nil, seconds: Double, threads: Int? = nil) {
    precondition(seconds > 0, "measuring takes time")
    precondition(arrayBytes.map { $0 >= 4096 } ?? true, "an array has a page")
    precondition(threads.map { (1...4096).contains($0) } ?? true, "from 1 to 4096 threads")
    (self.nodes, self.arrayBytes) = (nodes, arrayBytes)
    (self.seconds, self.threads) = (seconds, threads)
  }

  package func run() throws(MemoryProbeError) -> MemoryReport {
    let targets = try chosenNodes()
    let cacheBytes = topology.cpuNodes.compactMap { CacheFacts.lastLevelBytes(of: $0.cpus) }.max()
    let bytes = try size(cacheBytes, targets)
    var memories: [Memory] = []
    for node in targets {
      memories.append(try Memory(node, isAlone: topology.nodes.count == 1, arrayBytes: bytes))
    }
    var (sums, rounds) = ([Double](), 0)
    var samples = [[Sample]](repeating: [], count: topology.cpuNodes.count * targets.count)
    let start = ContinuousClock.now
    repeat {
      var cell = 0
      for near in topology.cpuNodes {
        let pin = topology.nodes.count > 1 ? ThreadPin(to: near.cpus) : nil
        let workers = Workers(count: threads ?? near.cpus.count, groups: groups(near))
        for memory in memories {
          let sample = try measure(memory, near.id, workers)
          if rounds > 0 { samples[cell].append(sample) }
          sums.append(sample.sum)
          cell += 1
        }
        _ = consume pin
      }
      rounds += 1
    } while rounds <= Self.roundsMin || ContinuousClock.now - start < .seconds(seconds)
    return report(memories, samples, bytes, cacheBytes, sums)
  }

  // MARK: What is measured

  private func chosenNodes() throws(MemoryProbeError) -> [Topology.Node] {
    guard let nodes else { return topology.nodes }
    let known = topology.nodes.map(\.id)
    for id in nodes where !known.contains(id) { throw .noNode(id, known: known) }
    return topology.nodes.filter { nodes.contains($0.id) }
  }

  /// The size of an array that every node has room for.
  private func size(
    _ cacheBytes: Int?, _ targets: [Topology.Node]
  ) throws(MemoryProbeError) -> Int {
    let most = targets.map { $0.availableBytes / 2 / Self.arrays }.min() ?? 0
    let wanted = arrayBytes ?? min(max(64 << 20, 4 * (cacheBytes ?? 0)), most)
    for node in targets where wanted * Self.arrays > node.availableBytes || wanted < 4096 {
      throw .noRoom(
        node: node.id, wantedBytes: wanted * Self.arrays, availableBytes: node.availableBytes)
    }
    return wanted / 4096 * 4096
  }

  private func groups(_ node: Topology.Node) -> [WorkerGroup] {
    topology.nodes.count > 1 ? [WorkerGroup(node: node.id, processors: node.cpus)] : []
  }

  /// Three arrays on one node.
  private final class Memory {
    let node: Int
    let region: PinnedRegion
    let arrayBytes: Int

    init(_ node: Topology.Node, isAlone: Bool, arrayBytes: Int) throws(MemoryProbeError) {
      let bytes = arrayBytes * MemoryProbe.arrays
      do throws(MemoryError) {
        region = try PinnedRegion(
          name: "arrays on node \(node.id)", byteCount: bytes,
          placement: isAlone ? .anywhere : .node(node.id),
          // Huge pages may round up.
          ledger: MemoryLedger(ceiling: bytes + (2 << 20)))
      } catch {
        throw .memory("\(error)")
      }
      (self.node, self.arrayBytes) = (node.id, arrayBytes)
    }

    func array(_ index: Int) -> FloatStream {
      let bytes = unsafe region.memory.bytes
      return unsafe FloatStream(
        UnsafeMutableRawBufferPointer(
          rebasing: bytes[index * arrayBytes..<(index + 1) * arrayBytes]))
    }
  }

  // MARK: Measuring

  /// Seconds of each loop in one round, and the sum that was read.
  private struct Sample {
    let copy: Double
    let triad: Double
    let memcpy: Double
    let read: Double
    let sum: Double
  }

  private func measure(
    _ memory: Memory, _ near: Int, _ workers: Workers
  ) throws(MemoryProbeError) -> Sample {
    let (a, b, c) = (memory.array(0), memory.array(1), memory.array(2))
    b.fill(Self.b, on: workers)
    c.fill(Self.c, on: workers)
    let copy = seconds { a.copy(from: b, on: workers) }
    let memcpy = seconds { a.memcpy(from: c, on: workers) }
    let triad = seconds { a.triad(b, c, scale: Self.scale, on: workers) }
    var sum = 0.0
    let read = seconds { sum = a.sum(on: workers) }
    let expected = Double(a.count) * Double(Self.b + Self.scale * Self.c)
    guard sum == expected else {
      throw .wrongSum(processorNode: near, memoryNode: memory.node, sum: sum, expected: expected)
    }
    return Sample(copy: copy, triad: triad, memcpy: memcpy, read: read, sum: sum)
  }

  private func seconds(_ body: () -> Void) -> Double {
    let start = ContinuousClock.now
    body()
    return (ContinuousClock.now - start) / .seconds(1)
  }

  // MARK: Reporting

  private func report(
    _ memories: [Memory], _ samples: [[Sample]], _ bytes: Int, _ cacheBytes: Int?, _ sums: [Double]
  ) -> MemoryReport {
    func rate(_ times: [Double], _ arrays: Int) -> Rate {
      .init(times.map { Double(arrays * bytes) / $0 / 1e9 })
    }
    var cells = samples[...]
    var rows: [MemoryReport.Row] = []
    for near in topology.cpuNodes {
      for memory in memories {
        let cell = cells.removeFirst()
        rows.append(
          .init(
            processorNode: near.id, memoryNode: memory.node, threads: threads ?? near.cpus.count,
            copy: rate(cell.map(\.copy), 2), triad: rate(cell.map(\.triad), 3),
            memcpy: rate(cell.map(\.memcpy), 2), read: rate(cell.map(\.read), 1)))
      }
    }
    var notes = memories.compactMap { $0.region.placementNote }
    if let cacheBytes, bytes < 4 * cacheBytes {
      notes.append(
        "arrays of \(ByteCount(bytes)) are smaller than four times the last-level caches "
          + "(\(ByteCount(cacheBytes))): part of what is measured is cache")
    }
    return MemoryReport(
      ceiling: "the better of memcpy and reading, by the same threads in the same rounds",
      arrayBytes: bytes, cacheBytes: cacheBytes, rounds: samples[0].count, rows: rows,
      notes: notes, hugePageBytes: memories.reduce(0) { $0 + $1.region.hugeBytes },
      allBytes: memories.reduce(0) { $0 + $1.region.memory.byteCount },
      checksum: sums.reduce(0) { ($0 &* 31) &+ $1.bitPattern })
  }
}

/// The caches of processors, from sysfs.
package enum CacheFacts {
  /// The last-level caches beside `processors` together; nil where the kernel does not say.
  package static func lastLevelBytes(of processors: [Int]) -> Int? {
    var sizes: [String: Int] = [:]
    for processor in processors {
      let caches = "/sys/devices/system/cpu/cpu\(processor)/cache"
      for level in [3, 2] {
        guard let text = firstLine(of: "\(caches)/index\(level)/size"),
          let sharers = firstLine(of: "\(caches)/index\(level)/shared_cpu_list"),
          let bytes = bytes(text)
        else { continue }
        sizes[sharers] = bytes
        break
      }
    }
    return sizes.isEmpty ? nil : sizes.values.reduce(0, +)
  }

  /// `32768K` or `32M` as the kernel writes it.
  package static func bytes(_ text: String) -> Int? {
    guard let unit = text.last, let count = Int(text.dropLast()) else { return Int(text) }
    return switch unit {
    case "K": count << 10
    case "M": count << 20
    case "G": count << 30
    default: Int(text)
    }
  }
}
