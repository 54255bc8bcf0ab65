// The same hash of bytes that are all there, compiled for AVX-512: in cache it takes 1.4 times as many
// bytes in a second as for AVX2 (Emerald Rapids), from memory no more.
#include "wide.h"

#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX512
#define XXH_PREFETCH_DIST 2048
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4"))), apply_to = function)
#include <xxhash.h>

uint64_t pagoda_xxh3_wide(const void *bytes, size_t length) { return XXH3_64bits(bytes, length); }
#pragma clang attribute pop
