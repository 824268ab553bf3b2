/* ${NAME}, ${env:NAME}, ${NAME:-default} and $$ in a scalar, to the letter of the specification: `$$` cuts the text
 * into pieces, references are looked for in each piece by itself, and what was put in is not looked at again. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "otel/settings/node.h"

struct result {
    struct arena *arena;
    char *text;
    size_t length, room, bytes_max;
};

struct reference {
    const char *name, *fallback; /* into the text; fallback NULL: none */
    size_t name_length, fallback_length;
};

static const char too_long[] = "too much text, with what the environment puts in";

static const char *append(struct result *result, const char *text, size_t length)
{
    if (length > result->bytes_max - result->length)
        return too_long;
    if (length >= result->room - result->length) {
        result->room = (result->length + length) * 2 + 1;
        char *text_before = result->text;
        result->text = arena_alloc_raw(result->arena, result->room);
        memcpy(result->text, text_before, result->length);
    }
    memcpy(result->text + result->length, text, length);
    result->length += length;
    return NULL;
}

/* ENV-NAME [":-" DEFAULT-VALUE] */
static bool read_reference(const char *text, size_t length, struct reference *out)
{
    size_t i = 0;
    while (i < length &&
           (isalpha((unsigned char)text[i]) || text[i] == '_' || (i > 0 && isdigit((unsigned char)text[i]))))
        i++;
    *out = (struct reference){.name = text, .name_length = i};
    if (i == 0 || i == length)
        return i > 0;
    if (length - i < 2 || text[i] != ':' || text[i + 1] != '-')
        return false;
    out->fallback = text + i + 2;
    out->fallback_length = length - i - 2;
    for (size_t j = 0; j < out->fallback_length; j++)
        if (iscntrl((unsigned char)out->fallback[j]) && out->fallback[j] != '\t')
            return false;
    return true;
}

static const char invalid[] = "invalid reference to an environment variable, expected ${NAME}, ${env:NAME} or "
                              "${NAME:-default}; a $ of its own is $$";

/* What is between the braces. NULL, or what is wrong; the same below. */
static const char *resolve(struct result *result, const char *text, size_t length)
{
    static const char env[] = "env:";
    struct reference reference;
    bool good = read_reference(text, length, &reference);
    if (!good && length > 4 && memcmp(text, env, 4) == 0)
        good = read_reference(text + 4, length - 4, &reference);
    if (!good)
        return invalid;
    const char *value = getenv(arena_text(result->arena, reference.name, reference.name_length));
    if (value && *value)
        return append(result, value, strlen(value));
    return reference.fallback ? append(result, reference.fallback, reference.fallback_length) : NULL;
}

/* References are "${", something without a closing brace, "}"; anything else stays as it is. */
static const char *resolve_piece(struct result *result, const char *piece, size_t length)
{
    const char *wrong = NULL;
    while (length > 0 && !wrong) {
        const char *open = memmem(piece, length, "${", 2);
        size_t before = open ? (size_t)(open - piece) : length;
        const char *close = open ? memchr(open, '}', length - before) : NULL;
        if (!close)
            return append(result, piece, length);
        const char *content = open + 2;
        wrong = append(result, piece, before);
        if (!wrong)
            wrong = close == content ? append(result, open, 3) : resolve(result, content, (size_t)(close - content));
        length -= (size_t)(close + 1 - piece);
        piece = close + 1;
    }
    return wrong;
}

static const char *resolve_all(struct result *result, const char *text, size_t length)
{
    for (;;) {
        const char *escape = memmem(text, length, "$$", 2);
        size_t piece = escape ? (size_t)(escape - text) : length;
        const char *wrong = resolve_piece(result, text, piece);
        if (wrong || !escape)
            return wrong;
        if ((wrong = append(result, "$", 1)))
            return wrong;
        text += piece + 2;
        length -= piece + 2;
    }
}

const char *substitute(struct arena *arena, const char *text, size_t length, size_t bytes_max, size_t *out_length,
                       const char **out_wrong)
{
    struct result result = {.arena = arena, .bytes_max = bytes_max, .room = length + 1};
    result.text = arena_alloc_raw(arena, result.room);
    const char *wrong = resolve_all(&result, text, length);
    if (wrong) {
        *out_wrong = wrong;
        return NULL;
    }
    result.text[result.length] = '\0';
    *out_length = result.length;
    return result.text;
}
