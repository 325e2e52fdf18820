/* Netpbm pictures. */
#include "data/image_pnm.h"

bool image_is_pnm(const uint8_t *bytes, size_t size)
{
    return size >= 3 && bytes[0] == 'P' &&
           (bytes[1] == '2' || bytes[1] == '3' || bytes[1] == '5' || bytes[1] == '6') &&
           (bytes[2] == '\n' || bytes[2] == '\r' || bytes[2] == ' ' || bytes[2] == '\t' ||
            bytes[2] == '#');
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Takes a number of at most `most` from `*at` on, behind blanks and comments. */
static bool take_number(const uint8_t *bytes, size_t size, size_t *at, int64_t most, int64_t *value)
{
    size_t i = *at;
    size_t begin;

    while (i < size && (is_blank(bytes[i]) || bytes[i] == '#')) {
        if (bytes[i] == '#') {
            while (i < size && bytes[i] != '\n') {
                i++;
            }
        } else {
            i++;
        }
    }
    begin = i;
    for (*value = 0; i < size && bytes[i] >= '0' && bytes[i] <= '9' && *value <= most; i++) {
        *value = *value * 10 + (bytes[i] - '0');
    }
    *at = i;
    return i > begin && *value <= most;
}

const char *image_pnm_open(const uint8_t *bytes, size_t size, image_pnm *p)
{
    size_t at = 2;
    size_t value_bytes;
    uint64_t values;

    *p = (image_pnm){.channels = bytes[1] == '3' || bytes[1] == '6' ? 3 : 1,
                     .plain = bytes[1] == '2' || bytes[1] == '3'};
    if (!take_number(bytes, size, &at, INT32_MAX, &p->width) ||
        !take_number(bytes, size, &at, INT32_MAX, &p->height) ||
        !take_number(bytes, size, &at, UINT16_MAX, &p->most) || p->most == 0) {
        return "its header does not have width, height and the value of white (to 65535)";
    }
    if (at == size || !is_blank(bytes[at])) {
        return "its header does not end in a blank";
    }
    p->data = at + 1;
    value_bytes = p->plain ? 2 : p->most > UINT8_MAX ? 2 : 1;
    values = (uint64_t)p->width * (uint64_t)p->height * (uint64_t)p->channels;
    /* Two sizes below 2^31 and 3 fit. The last number of a plain picture needs no blank. */
    if (values > (size - p->data + p->plain) / value_bytes) {
        return "it is shorter than its header announces";
    }
    return NULL;
}

const char *image_pnm_read(const uint8_t *bytes, size_t size, const image_pnm *p, uint8_t *pixels)
{
    size_t count = (size_t)(p->width * p->height * p->channels);
    size_t at = p->data;

    for (size_t i = 0; i < count; i++) {
        int64_t value = 0;

        if (p->plain) {
            if (!take_number(bytes, size, &at, p->most, &value)) {
                return "a value is missing or above white";
            }
        } else if (p->most > UINT8_MAX) {
            value = (int64_t)bytes[at] << 8 | bytes[at + 1];
            at += 2;
        } else {
            value = bytes[at++];
        }
        if (value > p->most) {
            return "a value is above white";
        }
        pixels[i] = (uint8_t)((value * UINT8_MAX + p->most / 2) / p->most);
    }
    return NULL;
}
