// xxHash from its header, compiled for AVX2: packaged libraries of it are compiled for SSE2, a third
// of the speed in cache and two thirds from memory.
#define XXH_INLINE_ALL
// Planes come from memory: fetched this many bytes ahead, not the header's 320 to 512, they come at 12.5
// instead of 10.5 GB/s to one core (Emerald Rapids); in cache it makes no difference.
#define XXH_PREFETCH_DIST 2048
#include <xxhash.h>

#include "CXXHash.h"
#include "wide.h"

uint64_t pagoda_xxh3(const void *bytes, size_t length) {
  if (__builtin_cpu_supports("x86-64-v4")) return pagoda_xxh3_wide(bytes, length);
  return XXH3_64bits(bytes, length);
}

pagoda_xxh3_stream *pagoda_xxh3_stream_new(void) {
  XXH3_state_t *state = XXH3_createState();
  if (state) XXH3_64bits_reset(state);
  return (pagoda_xxh3_stream *)state;
}

void pagoda_xxh3_stream_free(pagoda_xxh3_stream *stream) {
  XXH3_freeState((XXH3_state_t *)stream);
}

void pagoda_xxh3_stream_add(pagoda_xxh3_stream *stream, const void *bytes, size_t length) {
  XXH3_64bits_update((XXH3_state_t *)stream, bytes, length);
}

uint64_t pagoda_xxh3_stream_value(const pagoda_xxh3_stream *stream) {
  return XXH3_64bits_digest((const XXH3_state_t *)stream);
}
