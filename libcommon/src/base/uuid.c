#include "common/uuid.h"

#include <string.h>

#include "base/random.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/mem.h"

static bool dash_before(unsigned byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

bool uuid_parse(const char *text, struct uuid *out)
{
    if (!text)
        return false;
    struct uuid id;
    for (unsigned i = 0; i < sizeof id.bytes; i++) {
        if (dash_before(i) && *text++ != '-')
            return false;
        int high = hash_digit(text[0]);
        int low = high < 0 ? -1 : hash_digit(text[1]);
        if (low < 0)
            return false;
        id.bytes[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (*text)
        return false;
    *out = id;
    return true;
}

char *uuid_format(struct uuid id, char out[UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char *next = out;
    for (unsigned i = 0; i < sizeof id.bytes; i++) {
        if (dash_before(i))
            *next++ = '-';
        *next++ = digits[id.bytes[i] >> 4];
        *next++ = digits[id.bytes[i] & 15];
    }
    *next = '\0';
    return out;
}

char *uuid_print(struct arena *arena, struct uuid id)
{
    return uuid_format(id, arena_alloc_raw(arena, UUID_TEXT_BYTES));
}

static void set_version(struct uuid *id, unsigned version)
{
    id->bytes[6] = (uint8_t)((id->bytes[6] & 0x0f) | version << 4);
    id->bytes[8] = (uint8_t)((id->bytes[8] & 0x3f) | 0x80);
}

struct uuid uuid_v7(void)
{
    struct uuid id;
    int64_t ms = clock_wall_ns() / NS_PER_MS;
    random_bytes(id.bytes + 6, 10);
    for (unsigned i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    set_version(&id, 7);
    return id;
}

struct uuid uuid_v5(struct uuid name_space, const void *name, size_t length)
{
    scoped_free char *text = mem_alloc(sizeof name_space.bytes + length);
    memcpy(text, name_space.bytes, sizeof name_space.bytes);
    memcpy(text + sizeof name_space.bytes, name, length);
    uint8_t digest[20];
    hash_sha1(text, sizeof name_space.bytes + length, digest);
    struct uuid id;
    memcpy(id.bytes, digest, sizeof id.bytes);
    set_version(&id, 5);
    return id;
}

bool uuid_equal(struct uuid a, struct uuid b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}
