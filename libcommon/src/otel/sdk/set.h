/* Sets of attributes as spans take them: within their limits as they are, else one by one. Any thread. */
#ifndef OTEL_SDK_SET_H
#define OTEL_SDK_SET_H

#include "otel/sdk/exporter.h"

struct otel_attribute_set {                   /* read-only; what a span looks at lies in one cache line */
    _Alignas(64) struct otlp_message encoded; /* as attributes of a span */
    struct attribute_list list;
    unsigned longest; /* bytes of its longest text; UINT_MAX: there are values of which that is not known */
    struct arena arena;
};

/* Beside so many others. */
static inline bool set_within(const struct otel_attribute_set *set, unsigned others,
                              const struct limit_settings *limits)
{
    bool is_short = limits->attribute_value_length < 0 || set->longest <= (unsigned)limits->attribute_value_length;
    return is_short && others + set->list.count <= limits->attribute_count;
}

#endif
