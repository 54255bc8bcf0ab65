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

  @Test func setsListTheirPlanes() {
    #expect(PlaneSet.all.planes == [.hi, .lo, .m, .v])
    #expect(PlaneSet.state.planes == [.lo, .m, .v])
    #expect(PlaneSet.all.subtracting(.hi) == .state)
    #expect(PlaneSet([.hi, .v]).contains(Plane.v) && !PlaneSet([.hi, .v]).contains(Plane.m))
  }
}
