// OpenBLAS takes its kernels from a table of processors when it is loaded, and on one that is newer than
// the table those of 2004: a fifth of the speed. So it is told what the processor can do, which it reads
// from the environment at that moment: therefore it is opened here instead of being linked.
#include <cblas.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "COpenBLAS.h"

static __typeof__(cblas_sgemm) *sgemm;
static __typeof__(openblas_set_num_threads) *set_threads;
static __typeof__(openblas_get_config) *config;
static __typeof__(openblas_get_corename) *core;

/// Why it cannot be used; empty where it can.
static char failure[256];

static void fail(const char *why) { snprintf(failure, sizeof failure, "%s", why); }

static void *symbol(void *library, const char *name) {
  void *found = dlsym(library, name);
  if (!found) fail(dlerror());
  return found;
}

/// OpenBLAS's name for the newest kernels whose instructions this processor and kernel have; NULL
/// leaves the choice to OpenBLAS.
static const char *newest_kernels(void) {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return "SkylakeX";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return __builtin_cpu_is("amd") ? "Zen" : "Haswell";
  return NULL;
}

// Before main, while there is one thread: nobody else reads the environment.
__attribute__((constructor)) static void choose(void) {
  __builtin_cpu_init();
  const char *name = newest_kernels();
  // What the user has set holds.
  if (name) setenv("OPENBLAS_CORETYPE", name, 0);
  // Threads come from Workers.
  setenv("OPENBLAS_NUM_THREADS", "1", 0);
}

static void open_library(void) {
  void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!library) return fail(dlerror());
  sgemm = symbol(library, "cblas_sgemm");
  set_threads = symbol(library, "openblas_set_num_threads");
  config = symbol(library, "openblas_get_config");
  core = symbol(library, "openblas_get_corename");
  // OpenBLAS's own threads would be wrong twice: too many, and with sums that depend on their number.
  if (!failure[0]) set_threads(1);
}

const char *pagoda_blas_failure(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_library);
  return failure[0] ? failure : NULL;
}

static void need_library(void) {
  const char *why = pagoda_blas_failure();
  if (!why) return;
  fprintf(stderr, "cannot use OpenBLAS: %s\n", why);
  exit(EXIT_FAILURE);
}

void pagoda_sgemm(
    bool transpose_a, bool transpose_b, int32_t m, int32_t n, int32_t k, float scale, const float *a,
    int32_t a_stride, const float *b, int32_t b_stride, float keep, float *c, int32_t c_stride) {
  need_library();
  sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
        transpose_b ? CblasTrans : CblasNoTrans, m, n, k, scale, a, a_stride, b, b_stride, keep, c,
        c_stride);
}

void pagoda_blas_set_threads(int32_t count) {
  need_library();
  set_threads(count);
}

const char *pagoda_blas_config(void) {
  need_library();
  return config();
}

const char *pagoda_blas_core(void) {
  need_library();
  return core();
}
