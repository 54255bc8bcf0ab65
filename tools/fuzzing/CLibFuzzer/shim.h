#pragma once
#include <stddef.h>
#include <stdint.h>
// Exported by the library without a header: its main for programs that have one of their own.
int LLVMFuzzerRunDriver(int *count, char ***arguments, int (*run)(const uint8_t *data, size_t size));
