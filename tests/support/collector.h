/* The build's otlp-collector as a process of its own: the real other side of telemetry tests. It listens on free ports
 * and dies with the test process. What takes longer than 25 s fails the test. */
#ifndef TESTS_COLLECTOR_H
#define TESTS_COLLECTOR_H

#include <jansson.h>

#include "support/support.h"

enum { COLLECTOR_OPTIONS_MAX = 16 };

struct test_collector {
    pid_t pid; /* 0: not running */
    int grpc_port, http_port, page_port;
    char grpc[32], http[32], page[32];              /* "127.0.0.1:12345" */
    const char *options[COLLECTOR_OPTIONS_MAX + 1]; /* kept, not copied */
};

/* options: more of them ("--fault", "{…}"), NULL-terminated; or NULL. Returns when it listens. */
void collector_open(struct test_collector *collector, const char *const *options);
void collector_close(struct test_collector *collector);
int collector_stop(struct test_collector *collector);   /* SIGTERM; its exit status */
void collector_kill(struct test_collector *collector);  /* SIGKILL; returns when it is gone */
void collector_start(struct test_collector *collector); /* again, on the same ports, with nothing in it */

/* One request to its page and API. Returns the HTTP status; *out_text, if wanted, has to be freed. */
int collector_call(struct test_collector *collector, const char *method, const char *path, const char *json,
                   char **out_text);
/* GET; the JSON of a 200. */
json_t *collector_get(struct test_collector *collector, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Waits as /api/wait does: collector_wait(&c, "spans=3&logs=1"); the counts then. Fails the test when they do not come.
 */
json_t *collector_wait(struct test_collector *collector, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A number in the counts by a dotted path: collector_count(&c, "grpc.traces.codes.14"); 0 when there is none. */
long collector_count(struct test_collector *collector, const char *path);
void collector_fault(struct test_collector *collector, const char *json);
void collector_clear_faults(struct test_collector *collector);
void collector_wipe(struct test_collector *collector); /* counts too */

/* Of the API's JSON; borrowed references, NULL when there is none. */
json_t *collector_at(json_t *json, const char *path);         /* "grpc.traces.headers.user-agent", "spans.0.name" */
json_t *collector_attribute(json_t *holder, const char *key); /* the value */
json_t *collector_named(json_t *list, const char *name);      /* the first item whose "name" it is */

/* A certificate authority, a server's certificate for localhost and 127.0.0.1 and a client's one, all made afresh. */
struct test_certificates {
    struct test_server home;                                                  /* their directory */
    char ca[300], server[300], server_key[300], client[300], client_key[300]; /* PEM files */
    char ca_key[300];                                                         /* private, like the next */
    long serial;
};

void certificates_open(struct test_certificates *certificates);
/* One more of the authority, with names as in "DNS:order-service,URI:spiffe://shop/orders". Writes the files; returns
 * the certificate's serial number. */
long certificates_issue(struct test_certificates *certificates, const char *alternatives, const char *certificate,
                        const char *key);
void certificates_close(struct test_certificates *certificates);

#endif
