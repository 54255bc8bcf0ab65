import Base
import Storage
import Testing

@Suite struct RecordGeometryTests {
  /// 12 bytes a parameter, each plane padded to 4096, in the order hi, lo, m, v.
  @Test func planesArePaddedAndInOrder() {
    let geometry = RecordGeometry(parametersPerBlock: 3000)
    #expect(Plane.allCases.map { geometry.contentBytes[$0] } == [6000, 6000, 12000, 12000])
    #expect(Plane.allCases.map(geometry.planeBytes) == [8192, 8192, 12288, 12288])
    #expect(Plane.allCases.map(geometry.offset) == [0, 8192, 16384, 28672])
    #expect(geometry.recordBytes == 40960)
    #expect(geometry.weightFrameBytes == 8192 && geometry.stateFrameBytes == 32768)
  }

  /// Without padding, the lossless layout costs 12 bytes a parameter.
  @Test func wholePagesNeedNoPadding() {
    #expect(RecordGeometry(parametersPerBlock: 1 << 20).recordBytes == 12 << 20)
  }

  /// What each format takes, in planes of whole pages; without a remainder plane `m` follows `hi`.
  @Test(arguments: [
    (StatePrecision.fp32, MasterPrecision.bf16, [2, 0, 4, 4]), (.bf16, .fp32, [2, 2, 2, 2]),
    (.bf16, .bf16, [2, 0, 2, 2]), (.int8, .fp32, [2, 2, 1.015625, 1.015625]),
    (.int8, .bf16, [2, 0, 1.015625, 1.015625]),
  ])
  func formatsHaveTheirBytes(
    _ states: StatePrecision, _ master: MasterPrecision, _ bytes: [Double]
  ) {
    let format = RecordFormat(states: states, master: master)
    let geometry = RecordGeometry(parametersPerBlock: 1 << 20, format)
    #expect(Plane.allCases.map { Double(geometry.planeBytes($0)) / 0x1p20 } == bytes)
    #expect(Double(geometry.recordBytes) / 0x1p20 == bytes.reduce(0, +))
    #expect(geometry.planes == (master == .fp32 ? .all : [.hi, .m, .v]))
    #expect(geometry.offset(of: .m) == geometry.offset(of: .lo) + geometry.planeBytes(.lo))
  }

  /// Goal: what a manifest says of planes is one format or none.
  @Test func storedBytesNameTheirFormat() throws {
    let factored = MasterPrecision.allCases.flatMap { master in
      [1, 9].map { RecordFormat(master: master, factors: $0) }
    }
    for format in RecordFormat.allCases + factored {
      for parameters in [7, 8, 64, 1000, 1 << 30] {
        let geometry = RecordGeometry(parametersPerBlock: parameters, format)
        let read = RecordGeometry(stored: parameters, contentBytes: geometry.contentBytes)
        #expect(read == geometry)
        for plane in Plane.allCases {
          var wrong = geometry.contentBytes
          wrong[plane] += 1
          #expect(RecordGeometry(stored: parameters, contentBytes: wrong) == nil)
        }
      }
    }
    let none = PlaneValues(hi: 0, lo: 0, m: 0, v: 0)
    #expect(RecordGeometry(stored: 64, contentBytes: none) == nil)
    #expect(RecordGeometry(stored: -1, contentBytes: none) == nil)
    // More rows and columns than parameters allow.
    let many = PlaneValues(hi: 128, lo: 128, m: 0, v: 4 * 129)
    #expect(RecordGeometry(stored: 64, contentBytes: many) == nil)
  }

  @Test func setsListTheirPlanes() {
    #expect(PlaneSet.all.planes == [.hi, .lo, .m, .v])
    #expect(PlaneSet.state.planes == [.lo, .m, .v])
    #expect(PlaneSet.all.subtracting(.hi) == .state)
    #expect(PlaneSet([.hi, .v]).contains(Plane.v) && !PlaneSet([.hi, .v]).contains(Plane.m))
  }
}
