/// What makes a step of gradients.
package enum Optimizer: Sendable {
  case adamW(AdamW)
  case adafactor(Adafactor)
}
