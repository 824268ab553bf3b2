#include "fuzz/http_strict.h"

#include <string.h>
#include <strings.h>

/* What is left of the input, and what it was found to be. */
struct input {
    const char *at, *end;
    enum strict verdict;
};

struct line {
    const char *start;
    size_t length;
};

struct framing {
    bool has_length, chunked, http_1_1;
    size_t length;
};

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t token_length(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length && is_token_char(text[i]))
        i++;
    return i;
}

static bool bad(struct input *input)
{
    input->verdict = STRICT_BAD;
    return false;
}

/* A line ends with CR LF; neither may stand alone, nor may there be a NUL. */
static bool take_line(struct input *input, struct line *out)
{
    for (const char *c = input->at; c < input->end; c++) {
        if (*c == '\r' && c + 1 == input->end)
            break;
        if (*c == '\r' && c[1] == '\n') {
            *out = (struct line){input->at, (size_t)(c - input->at)};
            input->at = c + 2;
            return true;
        }
        if (*c == '\r' || *c == '\n' || *c == '\0')
            return bad(input);
    }
    input->verdict = STRICT_UNFINISHED;
    return false;
}

static bool take_request_line(struct input *input, struct strict_request *out, struct framing *framing)
{
    struct line line;
    if (!take_line(input, &line))
        return false;
    out->method = line.start;
    out->method_length = token_length(line.start, line.length);
    if (out->method_length == 0 || out->method_length == line.length || line.start[out->method_length] != ' ')
        return bad(input);
    out->target = line.start + out->method_length + 1;
    const char *end = line.start + line.length, *space = memchr(out->target, ' ', (size_t)(end - out->target));
    if (!space || space == out->target || end - space != 9 || memcmp(space + 1, "HTTP/1.", 7) != 0)
        return bad(input);
    out->target_length = (size_t)(space - out->target);
    framing->http_1_1 = end[-1] != '0';
    return end[-1] >= '0' && end[-1] <= '9' ? true : bad(input);
}

static bool is_named(const struct line *line, size_t name_length, const char *name)
{
    return name_length == strlen(name) && strncasecmp(line->start, name, name_length) == 0;
}

static struct line trimmed(const char *start, const char *end)
{
    while (start < end && (*start == ' ' || *start == '\t'))
        start++;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return (struct line){start, (size_t)(end - start)};
}

static bool take_length(struct input *input, const struct line *value, struct framing *framing)
{
    if (framing->has_length || value->length == 0 || value->length > 9)
        return bad(input);
    framing->has_length = true;
    for (size_t i = 0; i < value->length; i++) {
        if (value->start[i] < '0' || value->start[i] > '9')
            return bad(input);
        framing->length = framing->length * 10 + (size_t)(value->start[i] - '0');
    }
    return true;
}

static bool take_coding(struct input *input, const struct line *value, struct framing *framing)
{
    if (framing->chunked || value->length != 7 || strncasecmp(value->start, "chunked", 7) != 0)
        return bad(input);
    return framing->chunked = true;
}

static bool has_control(const struct line *line)
{
    for (size_t i = 0; i < line->length; i++)
        if (((unsigned char)line->start[i] < ' ' && line->start[i] != '\t') || line->start[i] == 0x7f)
            return true;
    return false;
}

/* One field line; an empty one ends the section. */
static bool take_field(struct input *input, struct framing *framing, bool *out_last)
{
    struct line line;
    if (!take_line(input, &line))
        return false;
    *out_last = line.length == 0;
    if (*out_last)
        return true;
    if (has_control(&line))
        return bad(input);
    size_t name_length = token_length(line.start, line.length);
    if (name_length == 0 || name_length == line.length || line.start[name_length] != ':')
        return bad(input);
    struct line value = trimmed(line.start + name_length + 1, line.start + line.length);
    if (is_named(&line, name_length, "Content-Length"))
        return take_length(input, &value, framing);
    if (is_named(&line, name_length, "Transfer-Encoding"))
        return take_coding(input, &value, framing);
    return true;
}

static bool take_fields(struct input *input, struct framing *framing)
{
    bool last = false;
    while (!last)
        if (!take_field(input, framing, &last))
            return false;
    return true;
}

/* Nothing reads what they say. */
static bool take_trailers(struct input *input)
{
    struct line line = {.length = 1};
    while (line.length > 0)
        if (!take_line(input, &line))
            return false;
    return true;
}

static bool take_bytes(struct input *input, size_t bytes, struct strict_request *out)
{
    if (bytes > (size_t)(input->end - input->at)) {
        input->verdict = STRICT_UNFINISHED;
        return false;
    }
    if (bytes > STRICT_BODY_MAX - out->body_bytes)
        return bad(input);
    memcpy(out->body + out->body_bytes, input->at, bytes);
    out->body_bytes += bytes;
    input->at += bytes;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_chunk_size(struct input *input, size_t *out)
{
    struct line line;
    size_t i = 0;
    *out = 0;
    if (!take_line(input, &line))
        return false;
    for (int digit; i < line.length && (digit = hex_digit(line.start[i])) >= 0; i++) {
        if (*out > 0xffffff)
            return bad(input);
        *out = *out << 4 | (size_t)digit;
    }
    return i > 0 && (i == line.length || line.start[i] == ';') ? true : bad(input);
}

static bool take_chunks(struct input *input, struct strict_request *out)
{
    for (size_t size;;) {
        struct line line;
        if (!take_chunk_size(input, &size))
            return false;
        if (size == 0)
            return take_trailers(input);
        if (!take_bytes(input, size, out))
            return false;
        if (!take_line(input, &line))
            return false;
        if (line.length > 0)
            return bad(input);
    }
}

static bool take_request(struct input *input, struct strict_request *out)
{
    struct framing framing = {0};
    /* Empty lines in front are allowed; this far a bare LF is one as well. */
    while (input->at < input->end &&
           (*input->at == '\n' || (input->end - input->at > 1 && input->at[0] == '\r' && input->at[1] == '\n')))
        input->at += *input->at == '\n' ? 1 : 2;
    if (!take_request_line(input, out, &framing) || !take_fields(input, &framing))
        return false;
    if (framing.chunked && (framing.has_length || !framing.http_1_1))
        return bad(input);
    return framing.chunked ? take_chunks(input, out) : take_bytes(input, framing.length, out);
}

enum strict strict_read(const char *data, size_t bytes, struct strict_request *out)
{
    struct input input = {.at = data, .end = data + bytes};
    out->body_bytes = 0;
    if (!take_request(&input, out))
        return input.verdict;
    out->bytes = (size_t)(input.at - data);
    return STRICT_GOOD;
}
