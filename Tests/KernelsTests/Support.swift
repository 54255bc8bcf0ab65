func largestDifference(_ x: [Float], _ y: [Double]) -> Double {
  zip(x, y).reduce(0) { max($0, abs(Double($1.0) - $1.1)) }
}
