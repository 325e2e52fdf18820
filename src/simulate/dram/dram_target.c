#include "simulate/dram/dram_target.h"

#include <stddef.h>
#include <string.h>

enum { CYCLES_MOST = 1 << 20 };

typedef struct count_key {
    const char *key;
    size_t offset;
    int least;
    int most;
} count_key;

static const count_key counts[] = {
    {"memory.dram.channels", offsetof(dram_options, channels), 1, DRAM_CHANNELS_MOST},
    {"memory.dram.ranks", offsetof(dram_options, ranks), 1, DRAM_RANKS_MOST},
    {"memory.dram.bank_groups", offsetof(dram_options, groups), 1, DRAM_BANKS_MOST},
    {"memory.dram.banks", offsetof(dram_options, banks), 1, DRAM_BANKS_MOST},
    {"memory.dram.rows", offsetof(dram_options, rows), 1, 1 << 24},
    {"memory.dram.columns", offsetof(dram_options, columns), 1, 1 << 12},
    {"memory.dram.timing.burst", offsetof(dram_options, burst), 1, 64},
    {"memory.dram.timing.CL", offsetof(dram_options, CL), 1, CYCLES_MOST},
    {"memory.dram.timing.CWL", offsetof(dram_options, CWL), 1, CYCLES_MOST},
    {"memory.dram.timing.tRCDRD", offsetof(dram_options, tRCDRD), 1, CYCLES_MOST},
    {"memory.dram.timing.tRCDWR", offsetof(dram_options, tRCDWR), 1, CYCLES_MOST},
    {"memory.dram.timing.tRP", offsetof(dram_options, tRP), 1, CYCLES_MOST},
    {"memory.dram.timing.tRAS", offsetof(dram_options, tRAS), 1, CYCLES_MOST},
    {"memory.dram.timing.tRFC", offsetof(dram_options, tRFC), 1, CYCLES_MOST},
    {"memory.dram.timing.tREFI", offsetof(dram_options, tREFI), 1, CYCLES_MOST},
    {"memory.dram.timing.tRRD_S", offsetof(dram_options, tRRD_S), 1, CYCLES_MOST},
    {"memory.dram.timing.tRRD_L", offsetof(dram_options, tRRD_L), 1, CYCLES_MOST},
    {"memory.dram.timing.tFAW", offsetof(dram_options, tFAW), 1, CYCLES_MOST},
    {"memory.dram.timing.tCCD_S", offsetof(dram_options, tCCD_S), 1, CYCLES_MOST},
    {"memory.dram.timing.tCCD_L", offsetof(dram_options, tCCD_L), 1, CYCLES_MOST},
    {"memory.dram.timing.tWTR_S", offsetof(dram_options, tWTR_S), 1, CYCLES_MOST},
    {"memory.dram.timing.tWTR_L", offsetof(dram_options, tWTR_L), 1, CYCLES_MOST},
    {"memory.dram.timing.tWR", offsetof(dram_options, tWR), 1, CYCLES_MOST},
    {"memory.dram.timing.tRTP", offsetof(dram_options, tRTP), 1, CYCLES_MOST},
    {"memory.dram.timing.tRTRS", offsetof(dram_options, tRTRS), 0, CYCLES_MOST},
};

static spry_status read_order(target *t, dram_options *options, spry_error *error)
{
    static const char *const words[DRAM_FIELDS] = {
        [DRAM_ROW] = "row",   [DRAM_RANK] = "rank",       [DRAM_GROUP] = "bank_group",
        [DRAM_BANK] = "bank", [DRAM_CHANNEL] = "channel", [DRAM_COLUMN] = "column",
    };
    static const char *const keys[DRAM_FIELDS] = {
        "memory.dram.address.0", "memory.dram.address.1", "memory.dram.address.2",
        "memory.dram.address.3", "memory.dram.address.4", "memory.dram.address.5",
    };
    spry_status status = SPRY_OK;

    for (int i = 0; i < DRAM_FIELDS && status == SPRY_OK; i++) {
        int chosen = 0;

        status = target_choice(t, keys[i], words, DRAM_FIELDS, &chosen, error);
        options->order[i] = (dram_field)chosen;
    }
    if (status == SPRY_OK && target_length(t, "memory.dram.address") != DRAM_FIELDS) {
        return target_refuse(t, "memory.dram.address", "must name six parts, highest first", error);
    }
    return status;
}

spry_status dram_options_read(target *t, dram_options *options, spry_error *error)
{
    static const char both[] = "memory.dram.timing.two_commands";
    double period = 0.0;
    spry_status status =
        target_quantity(t, "memory.dram.timing.tCK", UNIT_SECONDS, 1e-12, 1e-6, &period, error);

    *options = (dram_options){.period = (uint64_t)(period * 1e15 + 0.5)};
    for (size_t i = 0; i < sizeof counts / sizeof *counts && status == SPRY_OK; i++) {
        int64_t value = 0;
        int read;

        status = target_count(t, counts[i].key, counts[i].least, counts[i].most, &value, error);
        read = (int)value;
        memcpy((char *)options + counts[i].offset, &read, sizeof read);
    }
    if (status == SPRY_OK && target_has(t, both)) {
        status = target_flag(t, both, &options->two_commands, error);
    }
    return status == SPRY_OK ? read_order(t, options, error) : status;
}
