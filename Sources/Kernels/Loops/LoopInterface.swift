/// To be raised when what a function of the library takes changes: one that takes something else cannot
/// be tried. What it makes of it, and how its records lie in memory, `LoopDigest` finds out.
let loopInterface: UInt32 = 2
