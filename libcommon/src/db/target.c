#include "db/target.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

struct address {
    char *host, *port;
    char numeric[NI_MAXHOST]; /* empty: libpq takes the host as it is */
};

struct addresses {
    struct address list[DB_ADDRESSES_MAX];
    unsigned count;
};

/* A copy of the index-th entry of a comma-separated list. */
static char *entry(const char *list, unsigned index)
{
    for (; index > 0 && *list; index--)
        list += strcspn(list, ",") + (list[strcspn(list, ",")] == ',');
    return mem_print("%.*s", (int)strcspn(list, ","), list);
}

static unsigned entry_count(const char *list)
{
    unsigned count = 1;
    for (; *list; list++)
        count += *list == ',';
    return count;
}

static bool is_name(const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    bool socket_path = host[0] == '/' || host[0] == '@' || host[0] == '\0';
    /* Of the numeric forms only an IPv6 address has a colon, perhaps with a %zone that inet_pton() refuses. */
    return !socket_path && !strchr(host, ':') && inet_pton(AF_INET, host, bytes) != 1;
}

bool db_target_blocks(const char *hosts)
{
    bool blocks = false;
    for (unsigned i = 0; i < entry_count(hosts); i++) {
        scoped_free char *host = entry(hosts, i);
        blocks |= is_name(host);
    }
    return blocks;
}

static struct address *address_add(struct addresses *all, const char *host, const char *port)
{
    if (all->count == DB_ADDRESSES_MAX)
        return NULL;
    struct address *address = &all->list[all->count++];
    address->host = mem_text(host);
    address->port = mem_text(port);
    return address;
}

/* 0, or what getaddrinfo() says. */
static int look_up(struct addresses *all, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int status = getaddrinfo(host, NULL, &hints, &found);
    if (status)
        return status;
    for (const struct addrinfo *a = found; a; a = a->ai_next) {
        struct address *address = address_add(all, host, port);
        if (address)
            getnameinfo(a->ai_addr, a->ai_addrlen, address->numeric, sizeof address->numeric, NULL, 0, NI_NUMERICHOST);
    }
    freeaddrinfo(found);
    return 0;
}

static void append(char **list, const char *text, bool first)
{
    char *longer = mem_print("%s%s%s", first ? "" : *list, first ? "" : ",", text);
    free(*list);
    *list = longer;
}

static void join(const struct addresses *all, unsigned turn, struct db_target *out)
{
    *out = (struct db_target){0};
    for (unsigned i = 0; i < all->count; i++) {
        const struct address *address = &all->list[(turn + i) % all->count];
        append(&out->hosts, address->host, i == 0);
        append(&out->addresses, address->numeric, i == 0);
        append(&out->ports, address->port, i == 0);
    }
}

enum err db_target_find(const char *hosts, const char *ports, unsigned turn, struct db_target *out, char *message,
                        unsigned message_bytes)
{
    scoped_free struct addresses *all = mem_alloc(sizeof *all);
    snprintf(message, message_bytes, "no address");
    for (unsigned i = 0; i < entry_count(hosts); i++) {
        scoped_free char *host = entry(hosts, i);
        scoped_free char *port = entry(ports, strchr(ports, ',') ? i : 0);
        int status = 0;
        if (is_name(host))
            status = look_up(all, host, port);
        else
            address_add(all, host, port);
        if (status)
            snprintf(message, message_bytes, "host name \"%s\": %s", host, gai_strerror(status));
    }
    if (all->count == 0)
        return ERR_UNAVAILABLE;
    join(all, turn, out);
    for (unsigned i = 0; i < all->count; i++) {
        free(all->list[i].host);
        free(all->list[i].port);
    }
    return ERR_OK;
}

void db_target_done(struct db_target *target)
{
    free(target->hosts);
    free(target->addresses);
    free(target->ports);
    *target = (struct db_target){0};
}
