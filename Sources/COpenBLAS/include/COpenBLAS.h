#pragma once
#include <stdbool.h>
#include <stdint.h>

// OpenBLAS, opened when the first product is computed, with the kernels for what this processor can do.
// Everything but the first ends the process where there is none.

/// Why it cannot be used, as the loader says; NULL where it can.
const char *pagoda_blas_failure(void);

/// Row-major c = scale * op(a) op(b) + keep * c; op(a) [m, k], op(b) [k, n], c [m, n].
void pagoda_sgemm(
    bool transpose_a, bool transpose_b, int32_t m, int32_t n, int32_t k, float scale, const float *a,
    int32_t a_stride, const float *b, int32_t b_stride, float keep, float *c, int32_t c_stride);

void pagoda_blas_set_threads(int32_t count);

/// Version and options of the library.
const char *pagoda_blas_config(void);
/// The processor that its kernels were made for, by OpenBLAS's name.
const char *pagoda_blas_core(void);
