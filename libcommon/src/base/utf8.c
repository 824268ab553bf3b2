#include "common/utf8.h"

size_t utf8_sequence(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned c = s[0];
    size_t length = c < 0x80                ? 1
                    : c >= 0xc2 && c < 0xe0 ? 2
                    : c >= 0xe0 && c < 0xf0 ? 3
                    : c >= 0xf0 && c < 0xf5 ? 4
                                            : 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if (length < 3)
        return length;
    int overlong = (c == 0xe0 && s[1] < 0xa0) || (c == 0xf0 && s[1] < 0x90);
    int surrogate = c == 0xed && s[1] > 0x9f;
    int beyond = c == 0xf4 && s[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : length;
}

uint32_t utf8_next(const char **text)
{
    static const unsigned char lead_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    size_t length = utf8_sequence(*text);
    if (length == 0)
        return UINT32_MAX;
    uint32_t c = (unsigned char)**text & lead_mask[length];
    for (size_t i = 1; i < length; i++)
        c = c << 6 | ((unsigned char)(*text)[i] & 0x3f);
    *text += length;
    return c;
}
