import Base

/// A table of rates whose cells show by colour or shade how near they are to the largest.
struct HeatMap {
  /// Request sizes in bytes, and depths.
  let rows: [Int]
  let columns: [Int]
  let cells: [(row: Int, column: Int, value: Double)]
  let best: (row: Int, column: Int)
  let recommended: (row: Int, column: Int)

  private static let width = 8

  /// - Parameter inColour: with the escapes of a terminal; else with shades.
  func lines(inColour: Bool) -> [String] {
    let most = cells.map(\.value).max() ?? 1
    let labels = rows.map { "\(ByteCount($0))" }
    let labelWidth = labels.map(\.count).max() ?? 0
    let head =
      String(repeating: " ", count: labelWidth) + columns.map { padded("\($0)") }.joined()
    return [head]
      + zip(rows, labels).map { row, label in
        String(repeating: " ", count: labelWidth - label.count) + label
          + columns.map { cell(row, $0, most, inColour) }.joined()
      }
  }

  private func cell(_ row: Int, _ column: Int, _ most: Double, _ inColour: Bool) -> String {
    guard let value = cells.first(where: { $0.row == row && $0.column == column })?.value else {
      return padded("")
    }
    let mark = ((row, column) == best ? "*" : "") + ((row, column) == recommended ? "+" : "")
    let share = most > 0 ? value / most : 0
    guard inColour else { return padded("\(Heat.shade(share))\(fixed(value, 2))\(mark)") }
    return Heat.coloured(padded(fixed(value, 2) + mark), share)
  }

  private func padded(_ text: String) -> String {
    String(repeating: " ", count: max(0, Self.width - text.count)) + text
  }
}

/// A share of the most, 0 to 1, as a terminal shows it.
enum Heat {
  /// From dark blue to yellow in the palette of 256 colours.
  private static let ramp = [17, 18, 19, 25, 31, 37, 36, 35, 71, 107, 143, 179, 220, 226]
  private static let shades: [Character] = [" ", "░", "▒", "▓", "█"]

  static func shade(_ share: Double) -> Character {
    shades[min(shades.count - 1, Int(share * Double(shades.count)))]
  }

  static func coloured(_ text: String, _ share: Double) -> String {
    let level = min(ramp.count - 1, Int(share * Double(ramp.count)))
    // White on the dark half, black on the light.
    let ink = level < ramp.count / 2 ? 15 : 16
    return "\u{1B}[38;5;\(ink);48;5;\(ramp[level])m\(text)\u{1B}[0m"
  }
}
