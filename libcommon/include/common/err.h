/* One enumeration for everything that can go wrong: gRPC's canonical codes.
 *
 * Functions that can fail return enum err and leave their outputs untouched when
 * they do. Details belong to the request (see fail() in request.h).
 * Source: gRPC status codes; google.rpc.Code's HTTP mapping, design of the API. */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

enum err {
    ERR_OK = 0,
    ERR_CANCELLED = 1,
    ERR_UNKNOWN = 2,
    ERR_INVALID_ARGUMENT = 3,
    ERR_DEADLINE_EXCEEDED = 4,
    ERR_NOT_FOUND = 5,
    ERR_ALREADY_EXISTS = 6,
    ERR_PERMISSION_DENIED = 7,
    ERR_RESOURCE_EXHAUSTED = 8,
    ERR_FAILED_PRECONDITION = 9,
    ERR_ABORTED = 10,
    ERR_OUT_OF_RANGE = 11,
    ERR_UNIMPLEMENTED = 12,
    ERR_INTERNAL = 13,
    ERR_UNAVAILABLE = 14,
    ERR_DATA_LOSS = 15,
    ERR_UNAUTHENTICATED = 16,
};

/* "NOT_FOUND" and so on; "UNKNOWN" for a number outside the table. */
const char *err_name(int err);

/* The HTTP status that answers err; 200 for ERR_OK, 500 for what has none of its own. */
int err_http_status(enum err err);

#endif
