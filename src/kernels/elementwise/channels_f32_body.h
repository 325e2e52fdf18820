/* The loop over channels, compiled once per instruction set by the files that include this one. */
#ifndef KERNELS_ELEMENTWISE_CHANNELS_F32_BODY_H
#define KERNELS_ELEMENTWISE_CHANNELS_F32_BODY_H

#include "kernels/elementwise/channels_f32.h"
#include "kernels/elementwise/elementwise_f32_vector.h"

static void run_scale(const channels_f32_image *image)
{
    const vec_f32 lower = vec_set(image->lower);
    const vec_f32 upper = vec_set(image->upper);

    for (int64_t i = 0; i < image->pixels; i++) {
        const float *from = image->from + i * image->channels;
        float *to = image->to + i * image->channels;
        int64_t c = 0;

        for (; c + VEC_LANES <= image->channels; c += VEC_LANES) {
            vec_f32 x =
                vec_fma(vec_load(from + c), vec_load(image->scale + c), vec_load(image->shift + c));

            vec_store(to + c, vec_min(vec_max(x, lower), upper));
        }
        if (c < image->channels) {
            int64_t rest = image->channels - c;
            vec_f32 x =
                vec_fma(vec_load_part(from + c, rest), vec_load_part(image->scale + c, rest),
                        vec_load_part(image->shift + c, rest));

            vec_store_part(to + c, vec_min(vec_max(x, lower), upper), rest);
        }
    }
}

#endif
