/* Peaks and bandwidths, measured and from the calibration of this machine. */
#include "inspect/report/machine.h"

#include <math.h>

#include "base/files.h"
#include "base/threads.h"
#include "tune/latency_cpu.h"

const char *const machine_level_names[MACHINE_LEVELS] = {"L1 cache", "L2 cache", "L3 cache",
                                                         "memory"};

/* What `spry doctor --calibrate` has kept of one core. Nothing is wrong where there is no such
 * file, or one that cannot be read: everything has been measured. */
static bool read_calibration(latency_cpu *cpu)
{
    char path[4096];
    spry_error ignored;
    target *t = NULL;
    bool is_read = target_host_path(path, sizeof path, &ignored) == SPRY_OK && file_exists(path) &&
                   target_load(NULL, "cpu", &t, &ignored) == SPRY_OK && latency_cpu_is(t) &&
                   latency_cpu_read(cpu, t, &ignored) == SPRY_OK;

    target_destroy(t);
    return is_read;
}

spry_status machine_measure(int thread_count, machine *m, spry_error *error)
{
    threads *team = NULL;
    latency_cpu kept;
    spry_status status = threads_create(NULL, thread_count, &team, error);

    *m = (machine){0};
    if (status != SPRY_OK) {
        return status;
    }
    m->threads = threads_count(team);
    peak_measure(&m->core);
    status = bandwidth_measure(team, m->sizes, m->rates, error);
    threads_destroy(team);
    m->sizes[MACHINE_L1] *= m->threads;
    m->sizes[MACHINE_L2] *= m->threads;
    if (status == SPRY_OK && read_calibration(&kept)) {
        m->is_calibrated = true;
        m->core.gigaflops[PEAK_F32] = fmax(m->core.gigaflops[PEAK_F32], kept.peak * 1e-9);
        for (int i = 0; i < MACHINE_LEVELS; i++) {
            /* Of one core: caches of its own each core has, what all share is not less. */
            m->rates[i] = fmax(m->rates[i], kept.rates[i] * (i < MACHINE_L3 ? m->threads : 1));
        }
    }
    for (int i = MACHINE_LEVELS - 2; i >= 0; i--) { /* a nearer level that was disturbed */
        m->rates[i] = fmax(m->rates[i], m->rates[i + 1]);
    }
    return status;
}

double machine_peak(const machine *m, peak_type type, int thread_count)
{
    double of_core = m->core.gigaflops[type < PEAK_TYPES ? type : PEAK_F32];

    return (of_core > 0.0 ? of_core : m->core.gigaflops[PEAK_F32]) * thread_count;
}

machine_level machine_level_of(const machine *m, double bytes)
{
    int level = MACHINE_L1;

    while (level < MACHINE_DRAM && bytes > m->sizes[level]) {
        level++;
    }
    return (machine_level)level;
}
