/* JSON texts for the gateway's own shapes and for one of every kind of field; the first byte picks. What is read keeps
 * the shape's promises, and comes back the same from its own printing. What is not is refused in words, and nothing is
 * touched. */
#include <jansson.h>
#include <string.h>

#include "../../services/api-gateway/gateway.h"
#include "common/mem.h"
#include "common/utf8.h"
#include "fuzz/fuzz.h"
#include "inventory.pb-c.h"
#include "order.pb-c.h"
#include "user.pb-c.h"

/* --- one of each */

struct sample {
    const char *text, *name, *uuid_text;
    int64_t number, bounded;
    int32_t small;
    struct uuid uuid;
    bool flag;
};

static const struct json_field sample_fields[] = {
    {"text", offsetof(struct sample, text), JSON_FIELD_TEXT, .optional = true},
    {"name", offsetof(struct sample, name), JSON_FIELD_TEXT, .min = 2, .max = 5, .optional = true},
    {"uuid_text", offsetof(struct sample, uuid_text), JSON_FIELD_UUID_TEXT, .optional = true},
    {"number", offsetof(struct sample, number), JSON_FIELD_INT},
    {"bounded", offsetof(struct sample, bounded), JSON_FIELD_INT, .min = -5, .max = 5, .optional = true},
    {"small", offsetof(struct sample, small), JSON_FIELD_INT32, .min = INT32_MIN, .max = INT32_MAX, .optional = true},
    {"uuid", offsetof(struct sample, uuid), JSON_FIELD_UUID, .optional = true},
    {"flag", offsetof(struct sample, flag), JSON_FIELD_BOOL, .optional = true},
};
static const struct json_shape sample_shape = JSON_SHAPE(struct sample, sample_fields);

static bool is_utf8(const char *text)
{
    for (size_t step; *text; text += step)
        if ((step = utf8_sequence(text)) == 0)
            return false;
    return true;
}

static size_t characters(const char *text)
{
    size_t count = 0;
    while (*text && utf8_next(&text) != UINT32_MAX)
        count++;
    return count;
}

static void check_uuid_text(const char *text)
{
    struct uuid id;
    char again[UUID_TEXT_BYTES];
    FUZZ_CHECK(uuid_parse(text, &id) && strcmp(uuid_format(id, again), text) == 0);
}

static void check_sample(const struct sample *sample)
{
    FUZZ_CHECK(!sample->text || is_utf8(sample->text));
    FUZZ_CHECK(!sample->name || (characters(sample->name) >= 2 && characters(sample->name) <= 5));
    FUZZ_CHECK(sample->bounded >= -5 && sample->bounded <= 5);
    if (sample->uuid_text)
        check_uuid_text(sample->uuid_text);
}

/* --- as the gateway reads them */

static void check_user(const User__CreateUserRequest *user)
{
    FUZZ_CHECK(is_utf8(user->email) && is_utf8(user->name));
}

static void check_order(const Order__CreateOrderRequest *order)
{
    check_uuid_text(order->user_id);
    check_uuid_text(order->product_id);
    FUZZ_CHECK(order->quantity >= 1 && order->quantity <= QUANTITY_MAX);
}

static void check_stock(const Inventory__SetInventoryRequest *stock)
{
    FUZZ_CHECK(stock->quantity >= 0 && stock->quantity <= STOCK_MAX);
}

/* --- */

union value {
    struct sample sample;
    User__CreateUserRequest user;
    Order__CreateOrderRequest order;
    Inventory__SetInventoryRequest stock;
};

static const struct json_shape *begin(uint8_t which, union value *value)
{
    memset(value, 0, sizeof *value);
    switch (which) {
    case 'u':
        user__create_user_request__init(&value->user);
        return &user_draft_shape;
    case 'o':
        order__create_order_request__init(&value->order);
        return &order_draft_shape;
    case 's':
        inventory__set_inventory_request__init(&value->stock);
        return &stock_draft_shape;
    default:
        return &sample_shape;
    }
}

static void check_value(uint8_t which, const union value *value)
{
    if (which == 'u')
        check_user(&value->user);
    else if (which == 'o')
        check_order(&value->order);
    else if (which == 's')
        check_stock(&value->stock);
    else
        check_sample(&value->sample);
}

static void check_refusal(const struct request *req, enum err err)
{
    FUZZ_CHECK(err == ERR_INVALID_ARGUMENT && req->failure.err == err);
    FUZZ_CHECK(req->failure.detail && *req->failure.detail && is_utf8(req->failure.detail));
    for (const char *c = req->failure.detail; *c; c++)
        FUZZ_CHECK((unsigned char)*c >= ' ');
}

/* A message's text that was not given is empty; printing leaves out what is NULL. */
static struct bytes print(struct request *req, uint8_t which, const struct json_shape *shape, union value value)
{
    if (which == 'u' && !*value.user.password)
        value.user.password = NULL;
    return json_print(req, shape, &value);
}

static void check_printing(struct request *req, uint8_t which, const struct json_shape *shape, const union value *value)
{
    union value again;
    struct bytes text = print(req, which, shape, *value);
    json_t *tree = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    FUZZ_CHECK(tree && strlen(text.data) == text.size);
    json_decref(tree);
    begin(which, &again);
    FUZZ_CHECK(json_parse(req, "text", text, shape, &again) == ERR_OK);
    struct bytes printed = print(req, which, shape, again);
    FUZZ_CHECK(printed.size == text.size && memcmp(printed.data, text.data, text.size) == 0);
}

static void check_text(struct request *req, uint8_t which, struct bytes text)
{
    union value value, before;
    const struct json_shape *shape = begin(which, &value);
    before = value;
    enum err err = json_parse(req, "body", text, shape, &value);
    if (err) {
        check_refusal(req, err);
        FUZZ_CHECK(memcmp(&value, &before, sizeof value) == 0);
        return;
    }
    check_value(which, &value);
    check_printing(req, which, shape, &value);
}

/* The gateway's other readers of what a client writes. */
static void check_words(struct request *req, const char *text)
{
    char *key = NULL;
    int32_t limit = -1;
    enum err err = idempotency_key_read(req, text, &key);
    FUZZ_CHECK(err ? !key : key && *key && strlen(key) <= strlen(text));
    err = list_limit_read(req, text, &limit);
    FUZZ_CHECK(err ? limit == -1 : limit >= 1 && limit <= LIST_LIMIT_MAX);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct worker worker;
    struct arena arena;
    struct request req;
    if (bytes == 0)
        return 0;
    arena_init(&arena, 4096);
    request_init(&req, &arena, &worker);
    /* As long as it is and no byte longer, so that AddressSanitizer sees who reads on. */
    scoped_free char *text = mem_alloc(bytes);
    memcpy(text, data + 1, bytes - 1);
    if (data[0] == 'w')
        check_words(&req, text);
    else
        check_text(&req, data[0], (struct bytes){text, bytes - 1});
    arena_done(&arena);
    return 0;
}
