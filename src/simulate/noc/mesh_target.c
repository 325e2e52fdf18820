#include "simulate/noc/mesh_target.h"

spry_status mesh_options_read(target *t, mesh_options *options, spry_error *error)
{
    static const char routing[] = "interconnect.routing";
    int64_t width = 0;
    int64_t height = 0;
    int64_t channels = 4;
    int64_t depth = 8;
    int64_t delay = 1;
    const char *name = "dor";
    spry_status status = target_count(t, "interconnect.width", 1, MESH_SIDE_MOST, &width, error);

    if (status == SPRY_OK) {
        status = target_count(t, "interconnect.height", 1, MESH_SIDE_MOST, &height, error);
    }
    if (status == SPRY_OK) {
        status =
            target_count_or(t, "interconnect.channels", 1, MESH_CHANNELS_MOST, &channels, error);
    }
    if (status == SPRY_OK) {
        status = target_count_or(t, "interconnect.depth", 1, MESH_DEPTH_MOST, &depth, error);
    }
    if (status == SPRY_OK) {
        status = target_count_or(t, "interconnect.routing_delay", 0, 8, &delay, error);
    }
    if (status == SPRY_OK && target_has(t, routing)) {
        status = target_text(t, routing, &name, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    *options = (mesh_options){.width = (int)width,
                              .height = (int)height,
                              .channels = (int)channels,
                              .depth = (int)depth,
                              .routing_delay = (int)delay,
                              .routing = mesh_routing_find(name)};
    return options->routing == MESH_ROUTINGS
               ? target_refuse(t, routing,
                               "must be dor, xy_yx, romm, valiant, min_adapt or adaptive", error)
               : SPRY_OK;
}
