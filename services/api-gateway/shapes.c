#include "gateway.h"

static const struct json_field user_fields[] = {
    {"id", offsetof(struct user, id), JSON_FIELD_TEXT, .optional = true},
    {"email", offsetof(struct user, email), JSON_FIELD_TEXT},
    {"name", offsetof(struct user, name), JSON_FIELD_TEXT},
};
const struct json_shape user_shape = JSON_SHAPE(struct user, user_fields);

static const struct json_field order_draft_fields[] = {
    {"user_id", offsetof(struct order_draft, user_id), JSON_FIELD_UUID},
    {"product_id", offsetof(struct order_draft, product_id), JSON_FIELD_UUID},
    {"quantity", offsetof(struct order_draft, quantity), JSON_FIELD_INT, .min = 1, .max = QUANTITY_MAX},
};
const struct json_shape order_draft_shape = JSON_SHAPE(struct order_draft, order_draft_fields);

static const struct json_field order_fields[] = {
    {"id", offsetof(struct order, id), JSON_FIELD_TEXT},
    {"user_id", offsetof(struct order, user_id), JSON_FIELD_TEXT},
    {"product_id", offsetof(struct order, product_id), JSON_FIELD_TEXT},
    {"quantity", offsetof(struct order, quantity), JSON_FIELD_INT},
    {"status", offsetof(struct order, status), JSON_FIELD_TEXT},
};
const struct json_shape order_shape = JSON_SHAPE(struct order, order_fields);

static const struct json_field order_page_fields[] = {
    {"orders", offsetof(struct order_page, orders), JSON_FIELD_ARRAY, .shape = &order_shape},
    {"next_cursor", offsetof(struct order_page, next_cursor), JSON_FIELD_TEXT},
};
const struct json_shape order_page_shape = JSON_SHAPE(struct order_page, order_page_fields);

static const struct json_field stock_fields[] = {
    {"product_id", offsetof(struct stock, product_id), JSON_FIELD_TEXT, .optional = true},
    {"quantity", offsetof(struct stock, quantity), JSON_FIELD_INT, .min = 0, .max = STOCK_MAX},
};
const struct json_shape stock_shape = JSON_SHAPE(struct stock, stock_fields);
