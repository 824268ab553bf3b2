// The same for C++11 and later, gcc or clang: C linkage for all of common/otel, in one place.
// A type that shares its name with a function keeps its word struct (struct otel_tracer *tracer). OTEL_LIST is for C:
// here an array does it.
#ifndef COMMON_OTEL_HPP
#define COMMON_OTEL_HPP

#pragma GCC system_header // the headers are C: no complaints about compound literals

#include <cstdarg>
#include <cstdbool>
#include <cstddef>
#include <cstdint>
#include <cstring>

extern "C" {
#include "common/otel/instrument.h"
#include "common/otel/otel.h"
}

#endif
