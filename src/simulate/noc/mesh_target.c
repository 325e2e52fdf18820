#include "simulate/noc/mesh_target.h"

#include "simulate/prices.h"

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

spry_status mesh_hardware_read(target *t, mesh_hardware *h, spry_error *error)
{
    double flit = 256.0;
    int64_t table = 256;
    struct {
        const char *key;
        quantity_unit unit;
        double *joules;
    } keys[] = {{"energy.noc.link", UNIT_JOULES_PER_BIT, &h->link_bit},
                {"energy.noc.crossbar", UNIT_JOULES_PER_BIT, &h->crossbar_bit},
                {"energy.noc.buffer", UNIT_JOULES_PER_BIT, &h->buffer_bit},
                {"energy.noc.allocation", UNIT_JOULES, &h->allocation},
                {"energy.noc.entry", UNIT_JOULES, &h->entry}};
    spry_status status =
        target_quantity_or(t, "interconnect.flit", UNIT_BITS, 8.0, 65536.0, &flit, error);

    *h = (mesh_hardware){.has_prices = target_has(t, "energy.noc"), .source = prices_source(t)};
    if (status == SPRY_OK) {
        status = target_count_or(t, "interconnect.table", 1, 1 << 24, &table, error);
    }
    for (size_t i = 0; h->has_prices && i < sizeof keys / sizeof *keys && status == SPRY_OK; i++) {
        status = prices_read(t, keys[i].key, keys[i].unit, keys[i].joules, error);
    }
    h->flit_bits = (int)flit;
    h->table = (int)table;
    return status;
}
