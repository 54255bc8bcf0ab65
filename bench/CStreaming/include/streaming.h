#pragma once
#include <stddef.h>

// a[i] = b[i] + scale * c[i] with stores that go past the caches; `a` is aligned to 32 bytes and
// `count` is a multiple of 8. In C because Swift has no such stores.
void streaming_triad(float *a, const float *b, const float *c, float scale, size_t count);
