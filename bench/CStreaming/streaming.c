#include "streaming.h"
#include <immintrin.h>

__attribute__((target("avx2,fma"))) void streaming_triad(
    float *a, const float *b, const float *c, float scale, size_t count) {
  const __m256 s = _mm256_set1_ps(scale);
  for (size_t i = 0; i < count; i += 8) {
    _mm256_stream_ps(a + i, _mm256_fmadd_ps(s, _mm256_loadu_ps(c + i), _mm256_loadu_ps(b + i)));
  }
  _mm_sfence();
}
