/// x = exp(x - offset) in place.
package func loopExponentiate(_ x: borrowing Row, minus offset: Float) {
  for j in 0..<x.count { x[j] = exponential(x[j] - offset) }
}
