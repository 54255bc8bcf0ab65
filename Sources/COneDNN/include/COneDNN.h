#pragma once
#include <stdbool.h>
#include <stdint.h>

// oneDNN's sgemm, opened when it is asked for. It multiplies on the thread that calls.

/// Why it is not used: the library is not installed, cannot compile kernels, or shares its loops out in a
/// way that cannot be held to the calling thread. NULL where it is.
const char *pagoda_onednn_refusal(void);

/// Its version and what its kernels are for, such as "2.6.3, kernels for AVX2"; NULL where it is refused.
const char *pagoda_onednn_version(void);

/// Row-major c = scale * op(a) op(b) + keep * c; op(a) [m, k], op(b) [k, n], c [m, n]. Only where it
/// is not refused. Ends the process with a message where the library has no memory to work in.
void pagoda_onednn_sgemm(
    bool transpose_a, bool transpose_b, int32_t m, int32_t n, int32_t k, float scale, const float *a,
    int32_t a_stride, const float *b, int32_t b_stride, float keep, float *c, int32_t c_stride);
