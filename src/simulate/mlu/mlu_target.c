/* The description of an accelerator as mlu.h wants it. */
#include <stdio.h>
#include <string.h>

#include "simulate/mlu/mlu.h"

static const char *const split_names[] = {"rows", "channels", "best"};

enum { KEY_SIZE = 64, MOST_ASSUMED = 32 };

static spry_status read_teams(target *t, mlu_machine *m, spry_error *error)
{
    size_t count = target_length(t, "fusion.teams");
    spry_status status = SPRY_OK;

    if (count < 1 || count > FUSION_TEAMS_MOST) {
        return target_refuse(t, "fusion.teams", "must be a list of 1 to 16 numbers of cores",
                             error);
    }
    for (size_t i = 0; i < count && status == SPRY_OK; i++) {
        char key[KEY_SIZE];
        int64_t team = 0;

        (void)snprintf(key, sizeof key, "fusion.teams.%zu", i);
        status = target_count(t, key, i == 0 ? 1 : m->teams[i - 1] + 1, i == 0 ? 1 : m->cores,
                              &team, error);
        m->teams[i] = (int32_t)team;
        m->team_count = (int32_t)i + 1;
    }
    return status;
}

/* Every name of the list must be a key of the section, or a reader would look for it in vain. */
static spry_status check_assumed(target *t, spry_error *error)
{
    size_t count = target_length(t, "fusion.assumed");

    if (count > MOST_ASSUMED) {
        return target_refuse(t, "fusion.assumed", "has too many names", error);
    }
    for (size_t i = 0; i < count; i++) {
        char key[KEY_SIZE];
        char named[KEY_SIZE];
        const char *name = NULL;
        spry_status status;

        (void)snprintf(key, sizeof key, "fusion.assumed.%zu", i);
        status = target_text(t, key, &name, error);
        if (status != SPRY_OK) {
            return status;
        }
        if (snprintf(named, sizeof named, "fusion.%s", name) >= KEY_SIZE ||
            strchr(name, '.') != NULL || !target_has(t, named)) {
            return target_refuse(t, key, "must name a key of the section fusion", error);
        }
    }
    return SPRY_OK;
}

bool mlu_is_assumed(target *t, const char *key)
{
    size_t count = target_length(t, "fusion.assumed");

    for (size_t i = 0; i < count && strncmp(key, "fusion.", 7) == 0; i++) {
        char item[KEY_SIZE];
        const char *name = NULL;

        (void)snprintf(item, sizeof item, "fusion.assumed.%zu", i);
        if (target_text(t, item, &name, NULL) == SPRY_OK && strcmp(name, key + 7) == 0) {
            return true;
        }
    }
    return false;
}

static spry_status read_fixed(target *t, mlu_machine *m, spry_error *error)
{
    int64_t team = 0;
    int64_t length = 0;
    spry_status status = target_count(t, "fusion.fixed_team", 1, m->cores, &team, error);

    if (status == SPRY_OK) {
        status = target_count(t, "fusion.fixed_length", 1, 64, &length, error);
    }
    m->fixed_team = (int32_t)team;
    m->fixed_length = (int32_t)length;
    for (int32_t i = 0; i < m->team_count; i++) {
        if (m->teams[i] == m->fixed_team) {
            return status;
        }
    }
    return status == SPRY_OK
               ? target_refuse(t, "fusion.fixed_team", "must be one of fusion.teams", error)
               : status;
}

spry_status mlu_machine_read(target *t, mlu_machine *m, spry_error *error)
{
    const struct {
        const char *key;
        quantity_unit unit;
        double least, most;
        double *value;
    } quantities[] = {
        {"memory.dram.bandwidth", UNIT_BYTES_PER_SECOND, 1e6, 1e15, &m->bandwidth},
        {"fusion.core_peak", UNIT_OPERATIONS_PER_SECOND, 1e6, 1e18, &m->core_peak},
        {"fusion.efficiency", UNIT_ONE, 1e-3, 1, &m->efficiency},
        {"fusion.on_chip", UNIT_BYTES, 1, 1e15, &m->on_chip},
        {"fusion.launch", UNIT_SECONDS, 0, 1, &m->launch},
        {"fusion.synchronize", UNIT_SECONDS, 0, 1, &m->synchronize},
        {"fusion.critical", UNIT_OPERATIONS, 0, 1e18, &m->critical},
    };
    int64_t cores = 0;
    int split = 0;
    double element = 0;
    spry_status status;

    *m = (mlu_machine){0};
    status = target_count(t, "compute.units", 1, FUSION_TEAM_MOST, &cores, error);
    m->cores = (int32_t)cores;
    for (size_t i = 0; i < sizeof quantities / sizeof *quantities && status == SPRY_OK; i++) {
        status = target_quantity(t, quantities[i].key, quantities[i].unit, quantities[i].least,
                                 quantities[i].most, quantities[i].value, error);
    }
    if (status == SPRY_OK) {
        status = target_quantity(t, "fusion.element", UNIT_BYTES, 1, 8, &element, error);
    }
    if (status == SPRY_OK) {
        m->element_bytes = (int64_t)element;
        status = target_choice(t, "fusion.split", split_names, 3, &split, error);
        m->split = (mlu_split)split;
    }
    if (status == SPRY_OK) {
        status = target_count(t, "fusion.grain", 1, 65536, &m->grain, error);
    }
    if (status == SPRY_OK) {
        status = read_teams(t, m, error);
    }
    if (status == SPRY_OK) {
        status = read_fixed(t, m, error);
    }
    return status == SPRY_OK ? check_assumed(t, error) : status;
}
