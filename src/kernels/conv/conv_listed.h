/* Convolution of channels-last images at listed pixels only (pixel_list.h), by the tiles of the
 * dense engine (conv_nhwc.h): the same weights, the same order of additions, the same bits.
 *
 * Runs of pixels are read and written where they lie; single pixels are copied into a panel on the
 * way in and spread on the way out. So the source must hold its padding, and nothing else than what
 * listed pixels read is ever read. */
#ifndef KERNELS_CONV_CONV_LISTED_H
#define KERNELS_CONV_CONV_LISTED_H

#include "kernels/conv/conv_nhwc.h"
#include "kernels/conv/conv_winograd.h"
#include "kernels/conv/pixel_list.h"

/* How: immutable, holds no memory. */
typedef struct conv_listed {
    conv_nhwc dense;      /* packs the weights: way ROW; its problem says what is computed */
    int64_t columns;      /* of results: groups x filters */
    int64_t panels;       /* of all groups */
    int64_t pixel_bytes;  /* of A: channels of all groups */
    int64_t patch_bytes;  /* of A: from copied pixel to copied pixel */
    pixel_tiling tiling;  /* what lists are made with */
    bool panels_outer;    /* weights are larger than what a cache keeps beside pixels */
    int64_t block;        /* tiles whose pixels are held together */
    int64_t worker_bytes; /* workspace per worker, 64-byte aligned */
    double sum_cost;      /* multiply-adds of a pixel, in cycles of one core */
    double tile_cost;     /* and what a tile costs beside them */
    double pixel_cost;    /* of a pixel in full tiles: both */
} conv_listed;

/* Plans; the problem's pads are 0 and its image is the padded one. Not for BRGEMM_BF16 with an odd
 * number of channels. */
void conv_listed_plan(const conv_nhwc_problem *problem, const brgemm_kernel *kernel,
                      conv_listed *c);

/* Do Winograd's tiles, which may compute more than what is listed, take less time? */
bool conv_listed_prefers(const conv_listed *c, const conv_winograd *winograd);

/* Pixels of images in memory: all in bytes. */
typedef struct conv_listed_image {
    char *data; /* pixel (0, 0) of image 0 */
    int64_t pixel, row, image;
} conv_listed_image;

typedef struct conv_listed_call conv_listed_call;

/* Stores `columns` results from channel `channel` on of `count` pixels of a row: `from` holds them
 * densely. */
typedef void conv_listed_put(const conv_listed_call *call, pixel_spot spot, int64_t count,
                             int64_t channel, int64_t columns, const char *from);

/* One run. */
struct conv_listed_call {
    const conv_listed *c;
    const pixel_list *list;
    conv_listed_image x; /* padding included */
    bool is_wide;        /* BRGEMM_BF16: x holds floats */
    bool is_tight;       /* x is not ours: it may not be read beyond its last byte */
    uint8_t flip;        /* as in brgemm_tile */
    const void *packed;  /* by conv_nhwc_pack of `dense` */
    conv_listed_image y;
    int64_t width; /* of a line of the list: out_w, or all pixels where lines follow each other */
    /* Pointers are those of channel 0 and pixel 0; the residual is dense, and may be y. */
    brgemm_finish finish;
    conv_listed_put *put; /* or NULL: results go to y as they are */
    const void *context;  /* for `put` */
    int workers;
    void *workspace; /* worker_bytes per worker */
};

/* Where results of the pixel go: channel 0. */
char *conv_listed_target(const conv_listed_call *call, pixel_spot at);

/* Pieces of work of a run, which is what conv_listed_run counts in. */
int64_t conv_listed_pieces(const conv_listed_call *call);

/* Does pieces [begin, end) with that worker's part of the workspace: a threads_body, with the
 * conv_listed_call as context. */
void conv_listed_run(void *call, int64_t begin, int64_t end, int worker);

#endif
