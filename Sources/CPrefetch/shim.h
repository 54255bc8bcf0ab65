#pragma once

/// Asks for the cache line of an address that is soon used, and most are written, which may be anywhere: nothing
/// happens where nothing is mapped. Swift has no word for it.
static inline void pagoda_prefetch(const void *address) { __builtin_prefetch(address, 1, 3); }
