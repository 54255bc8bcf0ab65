#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <stddef.h>
#include <stdint.h>

/// XXH3-64 of `length` bytes, seed 0.
uint64_t pagoda_xxh3(const void *bytes, size_t length);

/// XXH3-64 of bytes that come in pieces.
typedef struct pagoda_xxh3_stream pagoda_xxh3_stream;
/// NULL without memory.
pagoda_xxh3_stream *pagoda_xxh3_stream_new(void);
void pagoda_xxh3_stream_free(pagoda_xxh3_stream *stream);
void pagoda_xxh3_stream_add(pagoda_xxh3_stream *stream, const void *bytes, size_t length);
uint64_t pagoda_xxh3_stream_value(const pagoda_xxh3_stream *stream);
