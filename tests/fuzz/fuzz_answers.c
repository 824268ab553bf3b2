/* What a receiver of telemetry answers, over gRPC and HTTP, and where it is told to be: the first byte says what the
 * rest is. Readers are total, write within their room, and leave the output alone when they refuse. */
#include <string.h>

#include "common/clock.h"
#include "fuzz/fuzz.h"
#include "otel/export/answer.h"
#include "otel/export/endpoint.h"

static bool ends_within(const char *text, size_t room)
{
    return memchr(text, '\0', room) != NULL;
}

static void check_export(const uint8_t *data, size_t bytes)
{
    struct export_answer answer, untouched;
    memset(&answer, 0x5a, sizeof answer);
    memset(&untouched, 0x5a, sizeof untouched);
    if (!export_answer_read(data, bytes, &answer)) {
        FUZZ_CHECK(memcmp(&answer, &untouched, sizeof answer) == 0);
        return;
    }
    FUZZ_CHECK(ends_within(answer.message, sizeof answer.message));
    FUZZ_CHECK(answer.rejected <= INT64_MAX && (answer.partial || (answer.rejected == 0 && !*answer.message)));
}

static void check_status(const uint8_t *data, size_t bytes)
{
    struct status_answer answer, untouched;
    memset(&answer, 0x5a, sizeof answer);
    memset(&untouched, 0x5a, sizeof untouched);
    if (!status_answer_read(data, bytes, &answer)) {
        FUZZ_CHECK(memcmp(&answer, &untouched, sizeof answer) == 0);
        return;
    }
    FUZZ_CHECK(ends_within(answer.message, sizeof answer.message));
    FUZZ_CHECK(answer.delay_ns == NO_DELAY || (answer.delay_ns >= 0 && answer.delay_ns <= DELAY_S_MAX * NS_PER_S));
}

static void check_retry_after(const char *text)
{
    const int64_t now_ns = INT64_C(1792000000) * NS_PER_S;
    int64_t delay_ns = retry_after_read(text, now_ns);
    FUZZ_CHECK(delay_ns == NO_DELAY || (delay_ns >= 0 && delay_ns <= DELAY_S_MAX * NS_PER_S));
}

static void check_endpoint(const char *text)
{
    struct endpoint endpoint;
    char message[128] = "";
    if (!endpoint_read(text, text[0] == 'x', false, &endpoint, message, sizeof message)) {
        FUZZ_CHECK(*message);
        return;
    }
    FUZZ_CHECK(*endpoint.host && ends_within(endpoint.host, sizeof endpoint.host));
    FUZZ_CHECK(endpoint.port >= 1 && endpoint.port <= 65535 && ends_within(endpoint.shown, sizeof endpoint.shown));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    char *text = malloc(bytes);
    if (!text)
        return 0;
    memcpy(text, data + 1, bytes - 1);
    text[bytes - 1] = '\0';
    switch (data[0]) {
    case 'e':
        check_export(data + 1, bytes - 1);
        break;
    case 's':
        check_status(data + 1, bytes - 1);
        break;
    case 'r':
        check_retry_after(text);
        break;
    default:
        check_endpoint(text);
    }
    free(text);
    return 0;
}
