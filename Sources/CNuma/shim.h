#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <numa.h>
#include <numaif.h>
#include <sys/mman.h>
#include <linux/mman.h>
