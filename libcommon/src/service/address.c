/* The addresses that a service listens on, taken before it dials anybody and held until its servers listen. The kernel
 * deals out ports, by default those from 32768 on, to connections as their own end: also a port that a service is
 * about to listen on, even to a connection to that very port. Such a one is often gone in a moment and is waited for.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "service/internal.h"

enum { TAKEN_MAX_MS = 3000, TRY_MS = 100 };

/* The settings have been checked to be host:port, [v6]:port or :port. */
static int resolve(const char *listen, struct addrinfo **out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char host[256];
    const char *colon = strrchr(listen, ':');
    bool v6 = listen[0] == '[';
    snprintf(host, sizeof host, "%.*s", (int)(colon - listen) - (v6 ? 2 : 0), listen + (v6 ? 1 : 0));
    return getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, out);
}

/* Bound but not listening, and willing to share: so the server can bind beside it, and nobody else who listens. */
static int take(const struct addrinfo *address)
{
    static const int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int take_first(const struct addrinfo *addresses)
{
    int fd = -1;
    for (const struct addrinfo *a = addresses; a && fd < 0; a = a->ai_next)
        fd = take(a);
    return fd;
}

static bool told_to_stop(int signal_fd, int wait_ms)
{
    struct pollfd event = {.fd = signal_fd, .events = POLLIN};
    return poll(&event, 1, wait_ms) > 0;
}

static enum err wait_for(const struct addrinfo *addresses, const char *listen, const char *setting, int signal_fd,
                         int *out_fd)
{
    int64_t until_ns = clock_now_ns() + TAKEN_MAX_MS * NS_PER_MS;
    bool told = false;
    while ((*out_fd = take_first(addresses)) < 0) {
        if (errno != EADDRINUSE || clock_now_ns() >= until_ns) {
            log_event(LOG_ERROR, "cannot listen", log_text("address", listen), log_text("reason", strerror(errno)),
                      log_text("setting", setting));
            return ERR_UNAVAILABLE;
        }
        if (!told)
            log_event(LOG_WARN, "waiting for an address that is taken", log_text("address", listen),
                      log_text("setting", setting));
        told = true;
        if (told_to_stop(signal_fd, TRY_MS))
            return ERR_CANCELLED;
    }
    return ERR_OK;
}

static enum err hold(struct app *app, const char *listen, const char *setting, int signal_fd)
{
    struct addrinfo *addresses;
    int status = resolve(listen, &addresses);
    if (status) {
        log_event(LOG_ERROR, "cannot listen", log_text("address", listen), log_text("reason", gai_strerror(status)),
                  log_text("setting", setting));
        return ERR_UNAVAILABLE;
    }
    enum err err = wait_for(addresses, listen, setting, signal_fd, &app->held_fds[app->held_count]);
    freeaddrinfo(addresses);
    if (!err)
        app->held_count++;
    return err;
}

/* Several services on one machine meet on the built-in admin port; the first has it, and the others work without. A
 * port that was asked for has to be there. */
static enum err hold_admin(struct app *app, int signal_fd)
{
    const char *listen = app->settings->admin_listen;
    struct addrinfo *addresses;
    if (strcmp(listen, ADMIN_LISTEN) != 0 || resolve(listen, &addresses) != 0)
        return hold(app, listen, "admin.listen, ADMIN_LISTEN", signal_fd);
    int fd = take_first(addresses);
    freeaddrinfo(addresses);
    if (fd >= 0) {
        app->held_fds[app->held_count++] = fd;
        return ERR_OK;
    }
    log_event(LOG_WARN, "no admin port: the built-in one is taken", log_text("address", listen),
              log_text("setting", "admin.listen, ADMIN_LISTEN"));
    app->without_admin = true;
    return ERR_OK;
}

enum err addresses_hold(struct app *app, int signal_fd)
{
    enum err err = ERR_OK;
    if (app->service->http_listen)
        err = hold(app, app->settings->http.listen, "http.listen, HTTP_LISTEN", signal_fd);
    if (!err && app->service->rpc_listen)
        err = hold(app, app->settings->rpc.listen, "rpc.listen, RPC_LISTEN", signal_fd);
    if (!err)
        err = hold_admin(app, signal_fd);
    return err;
}

void addresses_release(struct app *app)
{
    while (app->held_count > 0)
        close(app->held_fds[--app->held_count]);
}
