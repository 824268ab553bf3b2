/* A whole shop for a test: private PostgreSQL and Redis, the four services from the build's bin directory on
 * free ports, one or two of each, and a plain HTTP client to talk to the gateway. Everything dies with the test
 * process. */
#ifndef TESTS_SHOP_H
#define TESTS_SHOP_H

#include <jansson.h>
#include <libpq-fe.h>

#include "support/support.h"

enum shop_service { SHOP_USER, SHOP_INVENTORY, SHOP_ORDER, SHOP_GATEWAY, SHOP_SERVICES, SHOP_PROCESSES = 8 };

/* The second process of a service, in a shop with twins. */
#define shop_twin(service) ((enum shop_service)((service) + SHOP_SERVICES))

struct shop_process {
    const char *name;
    pid_t pid; /* 0: not running */
    int port, admin_port;
};

struct shop {
    struct test_server postgres, redis;
    struct shop_process services[SHOP_PROCESSES]; /* the twins behind the others */
    char directory[256];
    char base_url[64], twin_url[64]; /* of the gateways; http_call() asks the first */
    /* To be set before shop_open(). */
    const char *const *settings;      /* more environment for the services, NAME=value, NULL-terminated; or NULL */
    const char *files[SHOP_SERVICES]; /* what is in the services' settings files; NULL: no file */
    const char *postgres_options;     /* more options of PostgreSQL; or NULL */
    bool twins;                       /* two of each service */
    bool failpoints;                  /* the programs that have them: common/failpoint.h */
    /* Redis speaks TLS, too; and what is to be done when the servers run and directory exists, before the services
     * start: <directory>/<service>.yaml is read by the service. Both or NULL. */
    const struct test_certificates *certificates;
    void (*prepare)(struct shop *shop);
};

/* Opens everything and waits until the gateway is ready. */
void shop_open(struct shop *shop);
void shop_close(struct shop *shop);
void shop_kill(struct shop *shop, enum shop_service service);      /* SIGKILL; returns when it is gone */
int shop_stop(struct shop *shop, enum shop_service service);       /* SIGTERM; its exit status */
void shop_start(struct shop *shop, enum shop_service service);     /* does not wait for readiness */
void shop_await(struct shop *shop, enum shop_service service);     /* one process says that it is ready */
void shop_wait_ready(struct shop *shop);                           /* every gateway answers 200 on /ready */
int shop_await_exit(struct shop *shop, enum shop_service service); /* of one that was told to end; its exit status */
/* Sets failpoints of a service that runs, as common/failpoint.h writes them. */
void shop_set_failpoints(struct shop *shop, enum shop_service service, const char *text);
/* The path of a service's program in this build. */
void shop_binary(const char *name, char *out, size_t bytes);
/* The services' log so far; the caller frees. */
char *shop_log(struct shop *shop, enum shop_service service);

/* One query; the text of the first value, "" for NULL or no row. The caller frees. */
char *shop_sql(struct shop *shop, const char *format, ...) __attribute__((format(printf, 2, 3)));
long shop_sql_number(struct shop *shop, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A product with stock, in the database. */
void shop_add_product(struct shop *shop, const char *product_id, int quantity);
char *shop_add_user(struct shop *shop); /* through the API; its id; the caller frees */

struct answer {
    int status; /* 0: no answer came */
    char *body;
    size_t body_bytes;
    char headers[8192]; /* as received, names in lower case */
    json_t *json;       /* NULL when the body is none */
};

/* headers: "Name: value" lines, NULL-terminated; or NULL. body: NULL for none; sent as application/json unless headers
 * say. */
void http_call(struct shop *shop, const char *method, const char *path, const char *body, const char *const *headers,
               struct answer *out);
void http_call_at(const char *base_url, const char *method, const char *path, const char *body,
                  const char *const *headers, struct answer *out);
void answer_done(struct answer *answer);
const char *answer_text(const struct answer *answer, const char *member); /* "" when it is no text */
long answer_number(const struct answer *answer, const char *member);      /* -1 when it is no integer */
/* The value of a header, copied into a static buffer; NULL when missing. name in lower case. */
const char *answer_header(const struct answer *answer, const char *name);
/* The status is right, and for errors the body is problem+json with every member. Prints the answer otherwise. */
void assert_answer(struct answer *answer, int status);

#endif
