#include "tune/fusion/fusion.h"

double fusion_layer_operations(const spry_layer *l)
{
    return 2 * (double)l->macs;
}

static double image_bytes(const int64_t size[3], int32_t element_bytes)
{
    return (double)size[0] * (double)size[1] * (double)size[2] * element_bytes;
}

double fusion_layer_out_bytes(const spry_layer *l)
{
    return image_bytes(l->out, l->element_bytes);
}

double fusion_layer_in_bytes(const spry_layer *l)
{
    return image_bytes(l->in, l->element_bytes);
}

/* ---- blocks ---- */

static bool is_inside(int32_t layer, int32_t first, int32_t last)
{
    return layer >= first && layer <= last;
}

static bool reads_only(const fusion_network *n, int32_t layer, int32_t first, int32_t last)
{
    const spry_layer *l = &n->layers[layer];
    int32_t entry = n->layers[first].inputs[0];

    for (int32_t k = 0; k < l->input_count; k++) {
        bool is_known = is_inside(l->inputs[k], first, last) ||
                        (entry >= 0 && l->inputs[k] == entry) || (layer == first && k == 0);

        if (!is_known && (k == 0 || !n->outside_addends)) {
            return false;
        }
    }
    return true;
}

static int32_t readers_inside(const fusion_network *n, int32_t layer, int32_t last)
{
    int32_t count = 0;

    for (int32_t i = layer + 1; i <= last; i++) {
        for (int32_t k = 0; k < n->layers[i].input_count; k++) {
            if (n->layers[i].inputs[k] == layer) {
                count++;
                break; /* a node that reads it twice is one reader */
            }
        }
    }
    return count;
}

bool fusion_is_block(const fusion_network *n, int32_t first, int32_t last)
{
    if (first < 0 || last >= n->count || first > last) {
        return false;
    }
    for (int32_t i = first; i <= last && first < last; i++) {
        const spry_layer *l = &n->layers[i];

        if (!l->can_stream || !reads_only(n, i, first, last)) {
            return false;
        }
        if (i < last && (l->is_output || readers_inside(n, i, last) != l->readers)) {
            return false;
        }
    }
    return true;
}

int32_t fusion_next_end(const fusion_network *n, int32_t first, int32_t last, int32_t most)
{
    for (int32_t end = last + 1; end < n->count && end - first < most; end++) {
        if (!n->layers[end].can_stream) {
            return -1;
        }
        if (fusion_is_block(n, first, end)) {
            return end;
        }
    }
    return -1;
}

/* ---- rows ---- */

fusion_rows fusion_rows_read(const spry_layer *l, fusion_rows made)
{
    return (fusion_rows){made.from * l->stride[0] - l->pad[0],
                         (made.to - 1) * l->stride[0] - l->pad[0] +
                             l->dilation[0] * (l->kernel[0] - 1) + 1};
}

fusion_rows fusion_rows_clip(fusion_rows r, int64_t height)
{
    r.from = r.from < 0 ? 0 : r.from;
    r.to = r.to > height ? height : r.to;
    return r.from < r.to ? r : (fusion_rows){0, 0};
}

static fusion_rows unite(fusion_rows a, fusion_rows b)
{
    if (a.from == a.to || b.from == b.to) {
        return a.from == a.to ? b : a;
    }
    return (fusion_rows){a.from < b.from ? a.from : b.from, a.to > b.to ? a.to : b.to};
}

fusion_rows fusion_rows_needed(const fusion_network *n, int32_t first, int32_t last,
                               fusion_rows made, fusion_rows *need)
{
    fusion_rows entry = {0, 0};

    for (int32_t i = first; i <= last; i++) {
        need[i - first] = (fusion_rows){0, 0};
    }
    need[last - first] = fusion_rows_clip(made, n->layers[last].out[1]);
    for (int32_t i = last; i >= first; i--) {
        const spry_layer *l = &n->layers[i];
        fusion_rows mine = need[i - first];
        fusion_rows read = {0, 0};

        if (mine.from < mine.to) {
            read = fusion_rows_clip(fusion_rows_read(l, mine), l->in[1]);
        }
        for (int32_t k = 0; k < l->input_count; k++) {
            fusion_rows wanted = k == 0 ? read : mine; /* addends have the result's rows */

            if (is_inside(l->inputs[k], first, i - 1)) {
                need[l->inputs[k] - first] = unite(need[l->inputs[k] - first], wanted);
            } else if (k == 0 || l->inputs[k] == n->layers[first].inputs[0]) {
                entry = unite(entry, wanted);
            }
        }
    }
    return entry;
}

fusion_rows fusion_rows_part(int64_t height, int64_t parts, int64_t index)
{
    return (fusion_rows){height * index / parts, height * (index + 1) / parts};
}
