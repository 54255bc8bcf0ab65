#pragma once
#include <stddef.h>
#include <stdint.h>

/// As `pagoda_xxh3`, where the processor is one of x86-64-v4.
uint64_t pagoda_xxh3_wide(const void *bytes, size_t length);
