// oneDNN compiles its kernels for the processor it finds, and multiplies small and narrow matrices without
// packing them first. It is opened here instead of being linked, because it may be missing.
#include "COneDNN.h"

#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT(x) #x
#define TEXT_OF(x) TEXT(x)

static __typeof__(dnnl_sgemm) *sgemm;
static char version[32];

// Before main, while there is one thread: nobody else reads the environment. OpenMP reads it when it is
// loaded; a product must not be cut up by its number of threads, whatever the user sets for others.
__attribute__((constructor)) static void one_thread(void) { setenv("OMP_NUM_THREADS", "1", 1); }

static void open_library(void) {
  void *library = dlopen("libdnnl.so." TEXT_OF(DNNL_VERSION_MAJOR), RTLD_NOW | RTLD_LOCAL);
  if (!library) return;
  __typeof__(dnnl_version) *find = dlsym(library, "dnnl_version");
  __typeof__(dnnl_sgemm) *multiply = dlsym(library, "dnnl_sgemm");
  if (!find || !multiply) return;
  const dnnl_version_t *found = find();
  if (found->cpu_runtime != DNNL_RUNTIME_SEQ && found->cpu_runtime != DNNL_RUNTIME_OMP) return;
  snprintf(version, sizeof version, "%d.%d.%d", found->major, found->minor, found->patch);
  sgemm = multiply;
}

const char *pagoda_onednn_version(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_library);
  return sgemm ? version : NULL;
}

bool pagoda_onednn_sgemm(
    bool transpose_a, bool transpose_b, int32_t m, int32_t n, int32_t k, float scale, const float *a,
    int32_t a_stride, const float *b, int32_t b_stride, float keep, float *c, int32_t c_stride) {
  return sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, scale, a, a_stride, b,
               b_stride, keep, c, c_stride) == dnnl_success;
}
