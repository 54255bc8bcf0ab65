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

static _Noreturn void fail(const char *why, int32_t m, int32_t n, int32_t k) {
  fprintf(stderr, "oneDNN cannot multiply %d x %d x %d: %s; PAGODA_PRODUCTS=openblas does without\n", m,
          n, k, why);
  exit(EXIT_FAILURE);
}

static void open_library(void) {
  void *library = dlopen("libdnnl.so." TEXT_OF(DNNL_VERSION_MAJOR), RTLD_NOW | RTLD_LOCAL);
  if (!library) return;
  __typeof__(dnnl_version) *find = dlsym(library, "dnnl_version");
  __typeof__(dnnl_sgemm) *multiply = dlsym(library, "dnnl_sgemm");
  if (!find || !multiply) return;
  const dnnl_version_t *found = find();
  if (found->cpu_runtime != DNNL_RUNTIME_SEQ && found->cpu_runtime != DNNL_RUNTIME_OMP) return;
  // Somebody may have loaded OpenMP before the environment said one thread.
  int (*threads)(void) = dlsym(library, "omp_get_max_threads");
  if (found->cpu_runtime == DNNL_RUNTIME_OMP && (!threads || threads() != 1)) return;
  float one = 1, product = 0;
  // Where no memory may be executed it has no kernels.
  if (multiply('N', 'N', 1, 1, 1, 1, &one, 1, &one, 1, 0, &product, 1) != dnnl_success) return;
  snprintf(version, sizeof version, "%d.%d.%d", found->major, found->minor, found->patch);
  sgemm = multiply;
}

const char *pagoda_onednn_version(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_library);
  return sgemm ? version : NULL;
}

void pagoda_onednn_sgemm(
    bool transpose_a, bool transpose_b, int32_t m, int32_t n, int32_t k, float scale, const float *a,
    int32_t a_stride, const float *b, int32_t b_stride, float keep, float *c, int32_t c_stride) {
  if (!pagoda_onednn_version()) fail("it is not installed", m, n, k);
  dnnl_status_t status = sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, scale, a,
                               a_stride, b, b_stride, keep, c, c_stride);
  if (status == dnnl_out_of_memory) fail("it has no memory", m, n, k);
  if (status != dnnl_success) fail("it refuses", m, n, k);
}
