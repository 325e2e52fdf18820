/* The map of layers and heads and the mean maps of clusters, as SVG: parts of the page, or a file
 * of their own. */
#ifndef CLI_INSPECT_HEADS_PICTURE_H
#define CLI_INSPECT_HEADS_PICTURE_H

#include "base/text.h"
#include "spry/heads.h"

enum { HEADS_PICTURE_CELL = 22, HEADS_PICTURE_SIDE = 5 * SPRY_HEADS_MAP };

/* Heads of the widest layer. */
int32_t heads_picture_widest(const spry_head *list, int32_t count);

/* A cell of HEADS_PICTURE_CELL per head with its cluster's letter, numbers above and at the
 * left. */
void heads_picture_map(text *to, const spry_head *list, int32_t count,
                       const spry_heads_cluster *clusters);

/* The mean map of one head in the colour of cluster k: HEADS_PICTURE_SIDE to both sides. */
void heads_picture_heat(text *to, const spry_head *head, int32_t k);

/* The whole picture as a file. Fails with SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status heads_picture_write(const spry_heads *heads, const char *path,
                                              spry_error *error);

#endif
