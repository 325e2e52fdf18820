/* On which CPUs threads may run, and where they do. */
#ifndef BASE_AFFINITY_H
#define BASE_AFFINITY_H

/* CPUs in this process's affinity mask; the online ones where it cannot be read; 1 to 1024. */
int affinity_count(void);

/* The CPU that the calling thread is on; -1 where the system does not say. */
int affinity_current(void);

/* The number by which the system knows the calling thread. */
int affinity_thread(void);

/* CPUs that a thread may use, to be given back. */
typedef struct affinity_mask {
    _Alignas(unsigned long) unsigned char bits[2048]; /* 16384 CPUs */
    long bytes;                                       /* in use; below 1 where there is none */
} affinity_mask;

/* Keeps `thread` of this process off `cpu` until affinity_restore: one that sleeps will be woken
 * elsewhere, one that waits for `cpu` moves. Without effect where it may run on no other CPU. */
void affinity_exclude(int thread, int cpu, affinity_mask *before);

/* Allows again what was allowed; the thread stays where it is. */
void affinity_restore(int thread, const affinity_mask *before);

#endif
