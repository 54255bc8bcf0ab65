import Base
import Testing

@Test(arguments: [
  ("512MiB", 512 << 20), ("4GiB", 4 << 30), ("1.5e9", 1_500_000_000), ("200MB", 200_000_000),
  ("4096", 4096), ("0", 0), ("1 KiB", 1024),
])
func sizesParse(_ text: String, _ bytes: Int) {
  #expect(ByteCount(parsing: text)?.bytes == bytes)
}

@Test(arguments: ["", "MiB", "-1", "12 parsecs", "1e99", "nan"])
func nonsenseIsNoSize(_ text: String) {
  #expect(ByteCount(parsing: text) == nil)
}

@Test func sizesPrintShortly() {
  #expect(ByteCount(512 << 20).description == "512 MiB")
  #expect(ByteCount(1_213_000_000).description == "1.13 GiB")
  #expect(fixed(-0.004, 2) == "0.00")
  #expect(fixed(12.345, 1) == "12.3")
}

@Test func blockNamesSurviveTheManifest() {
  for block in [
    BlockID.dense(0), .dense(77), .expert(layer: 3, 47), .expert(layer: 65_535, 2, slice: 9),
  ] {
    #expect(BlockID(rawValue: block.rawValue) == block)
  }
  #expect(BlockID(rawValue: -1) == nil)
  #expect(BlockID.dense(5) < .expert(layer: 0, 0))
}

@Test func theLedgerRefusesWhatDoesNotFit() throws {
  let ledger = MemoryLedger(ceiling: 100)
  try ledger.grant("pages", bytes: 60)
  #expect(throws: MemoryRefusal.self) { try ledger.grant("activations", bytes: 41) }
  try ledger.grant("activations", bytes: 40)
  #expect(ledger.left == 0)
}
