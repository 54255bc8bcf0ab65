#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
// Foundation has an ICU of its own, another version: a compilation that sees both headers fails.
// Without this macro the library's headers leave the system's out; what they add to a structure that
// nobody here looks into goes with it.
#include <libxml/xmlversion.h>
#undef LIBXML_ICU_ENABLED
#include <libxml/xmlreader.h>
