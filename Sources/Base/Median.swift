/// The middle value, or the mean of the two in the middle.
package func median(_ values: [Double]) -> Double {
  precondition(!values.isEmpty, "a median has values")
  let sorted = values.sorted()
  return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
}
