#include "common/err.h"

#include "common/mem.h"

static const struct {
    const char *name;
    int http_status;
} table[] = {
    [ERR_OK] = {"OK", 200},
    [ERR_CANCELLED] = {"CANCELLED", 499},
    [ERR_UNKNOWN] = {"UNKNOWN", 500},
    [ERR_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", 400},
    [ERR_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", 504},
    [ERR_NOT_FOUND] = {"NOT_FOUND", 404},
    [ERR_ALREADY_EXISTS] = {"ALREADY_EXISTS", 409},
    [ERR_PERMISSION_DENIED] = {"PERMISSION_DENIED", 403},
    [ERR_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", 503},
    [ERR_FAILED_PRECONDITION] = {"FAILED_PRECONDITION", 400},
    [ERR_ABORTED] = {"ABORTED", 409},
    [ERR_OUT_OF_RANGE] = {"OUT_OF_RANGE", 400},
    [ERR_UNIMPLEMENTED] = {"UNIMPLEMENTED", 501},
    [ERR_INTERNAL] = {"INTERNAL", 500},
    [ERR_UNAVAILABLE] = {"UNAVAILABLE", 503},
    [ERR_DATA_LOSS] = {"DATA_LOSS", 500},
    [ERR_UNAUTHENTICATED] = {"UNAUTHENTICATED", 401},
};

const char *err_name(int err)
{
    if (err < 0 || (size_t)err >= array_count(table))
        return "UNKNOWN";
    return table[err].name;
}

int err_http_status(enum err err)
{
    if ((size_t)err >= array_count(table))
        return 500;
    return table[err].http_status;
}
