#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/// Moves the pages of `from` to `to`, which are dropped there; `from` is mapped without pages then. Swift
/// cannot call mremap, whose arguments vary in number.
/// Returns 0, or why not: EINVAL where the kernel cannot (before Linux 5.7), and nothing has changed;
/// after another error there may be nothing mapped at `to`.
static inline int pagoda_move_pages(void *from, void *to, size_t bytes) {
  int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
  return mremap(from, bytes, bytes, flags, to) == MAP_FAILED ? errno : 0;
}
