/* TLS under a connection to Redis: hiredis 0.14 knows none. A context is made from files, and made anew when they have
 * changed; a session lives on a connected, non-blocking socket and never waits. Loop thread only.
 * Messages name the setting that they are about. Source: OpenSSL 3, ssl(7). */
#ifndef STREAM_TLS_H
#define STREAM_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "otel/sdk/settings.h"

struct stream_tls;

/* The strings of files are kept. NULL when a file is no good. */
struct stream_tls *stream_tls_open(const struct tls_settings *files, char *message, size_t message_bytes);
void stream_tls_close(struct stream_tls *tls); /* NULL is allowed */

struct tls_session {
    struct ssl_st *ssl;
    uint32_t awaits; /* after a step that returned 0: EPOLLIN or EPOLLOUT */
};

/* The other side must be host, a name or an address. */
bool tls_session_open(struct tls_session *session, struct stream_tls *tls, int fd, const char *host, char *message,
                      size_t message_bytes);
void tls_session_close(struct tls_session *session); /* harmless when it is not open */
/* Each: more than 0 when done, 0 when the socket has to be awaited, less than 0 when the session is over. */
int tls_session_begin(struct tls_session *session, char *message, size_t message_bytes);
ssize_t tls_session_read(struct tls_session *session, void *out, size_t bytes, char *message, size_t message_bytes);
/* All bytes or none; repeated with the same bytes, or more behind them, until done. */
int tls_session_write(struct tls_session *session, const void *data, size_t bytes, char *message, size_t message_bytes);

#endif
