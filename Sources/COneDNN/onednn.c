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
static char version[48];
/// Why it is not used.
static const char *refusal;
static char opening[256];

// Before main, while there is one thread: nobody else reads the environment. OpenMP reads it when it is
// loaded; a product must not be cut up by its number of threads, whatever the user sets for others.
__attribute__((constructor)) static void one_thread(void) { setenv("OMP_NUM_THREADS", "1", 1); }

static _Noreturn void fail(const char *why, int32_t m, int32_t n, int32_t k) {
  fprintf(stderr, "oneDNN cannot multiply %d x %d x %d: %s; PAGODA_PRODUCTS=openblas does without\n", m,
          n, k, why);
  exit(EXIT_FAILURE);
}

static const char *instructions(void *library) {
  __typeof__(dnnl_get_effective_cpu_isa) *find = dlsym(library, "dnnl_get_effective_cpu_isa");
  int found = find ? find() : 0;
  if ((found & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core) return "AVX-512";
  return (found & dnnl_cpu_isa_avx2) == dnnl_cpu_isa_avx2 ? "AVX2" : "older processors";
}

// Why an opened library cannot be used; NULL, and it is ready, where it can.
static const char *refuse(void *library) {
  __typeof__(dnnl_version) *find = dlsym(library, "dnnl_version");
  __typeof__(dnnl_sgemm) *multiply = dlsym(library, "dnnl_sgemm");
  if (!find || !multiply) return "it has no sgemm";
  const dnnl_version_t *found = find();
  if (found->cpu_runtime != DNNL_RUNTIME_SEQ && found->cpu_runtime != DNNL_RUNTIME_OMP)
    return "it is built for threads of another kind than OpenMP's";
  // The environment may not have come so far. Nor may OpenMP ever begin a loop here: it would note that in
  // a thread-specific value whose number its C library and ours give out twice.
  int (*threads)(void) = dlsym(library, "omp_get_max_threads");
  if (found->cpu_runtime == DNNL_RUNTIME_OMP && (!threads || threads() != 1))
    return "its OpenMP was started with several threads";
  float one = 1, product = 0;
  if (multiply('N', 'N', 1, 1, 1, 1, &one, 1, &one, 1, 0, &product, 1) != dnnl_success)
    return "it cannot make its kernels: this process may not execute memory that it has written";
  snprintf(version, sizeof version, "%d.%d.%d, kernels for %s", found->major, found->minor,
           found->patch, instructions(library));
  sgemm = multiply;
  return NULL;
}

// Each product takes up to a few megabytes of aligned memory and gives them back. In a heap shared with
// others, small pieces that stay come to lie in the gaps that aligning leaves, and glibc before 2.38 then
// finds no room in what was given back: a heap of 5 MiB grew to 150 in one step. So oneDNN has a C library,
// and with it a heap, of its own. What a thread keeps of that heap is not given back when it ends.
//
// Returns why it cannot be used; NULL where it can.
static const char *open_library(void) {
  void *library =
      dlmopen(LM_ID_NEWLM, "libdnnl.so." TEXT_OF(DNNL_VERSION_MAJOR), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    snprintf(opening, sizeof opening, "%s (Debian: libdnnl" TEXT_OF(DNNL_VERSION_MAJOR) ")", dlerror());
    return opening;
  }
  const char *why = refuse(library);
  if (why) dlclose(library);
  return why;
}

static void open_once(void) { refusal = open_library(); }

const char *pagoda_onednn_refusal(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_once);
  return refusal;
}

const char *pagoda_onednn_version(void) { return pagoda_onednn_refusal() ? NULL : version; }

void pagoda_onednn_sgemm(
    bool transpose_a, bool transpose_b, int32_t m, int32_t n, int32_t k, float scale, const float *a,
    int32_t a_stride, const float *b, int32_t b_stride, float keep, float *c, int32_t c_stride) {
  const char *why = pagoda_onednn_refusal();
  if (why) fail(why, m, n, k);
  dnnl_status_t status = sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, scale, a,
                               a_stride, b, b_stride, keep, c, c_stride);
  if (status == dnnl_out_of_memory) fail("it has no memory", m, n, k);
  if (status != dnnl_success) fail("it refuses", m, n, k);
}
