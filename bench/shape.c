/* Every kernel benchmark reads the same shapes in the same way: here. */
#include "shape.h"

#include <stddef.h>
#include <string.h>

#include "serve.h"

enum { WORD_SIZE = 24 };

/* Copies the next word of *text and moves *text behind it; false at the end or when too long. */
static bool next_word(const char **text, char *word)
{
    const char *start = *text + strspn(*text, " \t");
    size_t length = strcspn(start, " \t");
    if (length == 0 || length >= WORD_SIZE) {
        return false;
    }
    memcpy(word, start, length);
    word[length] = '\0';
    *text = start + length;
    return true;
}

/* Reads exactly `count` sizes up to the end of the text. */
static bool read_sizes(const char *text, long *sizes, int count)
{
    char word[WORD_SIZE];
    for (int i = 0; i < count; i++) {
        if (!next_word(&text, word) || !serve_parse_number(word, 0, SHAPE_SIZE_MAX, &sizes[i])) {
            return false;
        }
    }
    return !next_word(&text, word);
}

static bool read_gemm(const char *text, shape_gemm *gemm)
{
    long sizes[SHAPE_GEMM_SIZES];
    if (!read_sizes(text, sizes, SHAPE_GEMM_SIZES)) {
        return false;
    }
    *gemm = (shape_gemm){.m = sizes[0], .n = sizes[1], .k = sizes[2]};
    return gemm->m > 0 && gemm->n > 0 && gemm->k > 0;
}

static bool conv_is_sound(const shape_conv *conv)
{
    return conv->batch > 0 && conv->channels > 0 && conv->filters > 0 && conv->rows > 0 &&
           conv->columns > 0 && conv->stride > 0 && conv->dilation > 0 && conv->groups > 0 &&
           conv->channels % conv->groups == 0 && conv->filters % conv->groups == 0 &&
           shape_conv_extent(conv, conv->height, conv->rows) > 0 &&
           shape_conv_extent(conv, conv->width, conv->columns) > 0;
}

static bool read_conv(const char *text, shape_conv *conv)
{
    long sizes[SHAPE_CONV_SIZES];
    if (!read_sizes(text, sizes, SHAPE_CONV_SIZES)) {
        return false;
    }
    *conv = (shape_conv){
        .batch = sizes[0],
        .channels = sizes[1],
        .height = sizes[2],
        .width = sizes[3],
        .filters = sizes[4],
        .rows = sizes[5],
        .columns = sizes[6],
        .stride = sizes[7],
        .pad = sizes[8],
        .dilation = sizes[9],
        .groups = sizes[10],
    };
    return conv_is_sound(conv);
}

bool shape_parse(const char *line, shape *result)
{
    char word[WORD_SIZE];
    if (!next_word(&line, word)) {
        return false;
    }
    if (strcmp(word, "gemm") == 0) {
        result->kind = SHAPE_GEMM;
        return read_gemm(line, &result->of.gemm);
    }
    result->kind = SHAPE_CONV;
    return strcmp(word, "conv") == 0 && read_conv(line, &result->of.conv);
}

long shape_conv_extent(const shape_conv *conv, long input, long kernel)
{
    long covered = conv->dilation * (kernel - 1) + 1;
    long room = input + 2 * conv->pad - covered;
    return room < 0 ? 0 : room / conv->stride + 1;
}
