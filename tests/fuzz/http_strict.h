/* A second reader of HTTP/1.1 requests, which takes nothing that two servers in a row could read differently. It judges
 * the real one: what that takes, this one must take too, and see it end at the same byte. Source: RFC 9112. */
#ifndef FUZZ_HTTP_STRICT_H
#define FUZZ_HTTP_STRICT_H

#include <stdbool.h>
#include <stddef.h>

enum { STRICT_BODY_MAX = 8192 };

enum strict { STRICT_GOOD, STRICT_BAD, STRICT_UNFINISHED };

struct strict_request {
    size_t bytes; /* of the input, with body and trailers */
    const char *method, *target;
    size_t method_length, target_length;
    char body[STRICT_BODY_MAX]; /* without its chunks */
    size_t body_bytes;
};

/* out is meaningful for STRICT_GOOD. */
enum strict strict_read(const char *data, size_t bytes, struct strict_request *out);

#endif
