#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <liburing.h>
#include <linux/fs.h>
#include <linux/memfd.h>
#include <linux/mman.h>
// fstatfs and eventfd, which the Glibc module leaves out.
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
// IOSQE_* are `1U << enum constant`, which the importer cannot evaluate.
enum : unsigned {
  pagoda_sqe_fixed_file = IOSQE_FIXED_FILE,
  pagoda_sqe_io_link = IOSQE_IO_LINK,
  pagoda_sqe_io_drain = IOSQE_IO_DRAIN,
  pagoda_sqe_async = IOSQE_ASYNC
};
// `ioctl` takes as many arguments as it likes, and its numbers are macros.
static inline int pagoda_clone_range(int to, struct file_clone_range *range) {
  return ioctl(to, FICLONERANGE, range);
}
