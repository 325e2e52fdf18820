/* Finds the linker's note among the segments of the object that this code is in. */
#define _GNU_SOURCE
#include "base/build_id.h"

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>

#include "base/hash64.h"

static bool holds(const struct dl_phdr_info *object, uintptr_t address)
{
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + segment->p_vaddr;

        if (segment->p_type == PT_LOAD && address >= start && address - start < segment->p_memsz) {
            return true;
        }
    }
    return false;
}

/* The hash of the build note in a segment of notes, or 0. */
static uint64_t find_note(const uint8_t *notes, size_t size)
{
    size_t at = 0;

    while (size - at >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) head;
        size_t name;
        size_t content;

        memcpy(&head, notes + at, sizeof head);
        at += sizeof head;
        name = ((size_t)head.n_namesz + 3) / 4 * 4;
        content = ((size_t)head.n_descsz + 3) / 4 * 4;
        if (name > size - at || content > size - at - name) {
            return 0;
        }
        if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == sizeof "GNU" &&
            memcmp(notes + at, "GNU", sizeof "GNU") == 0) {
            return hash64(notes + at + name, head.n_descsz, 1);
        }
        at += name + content;
    }
    return 0;
}

static int look(struct dl_phdr_info *object, size_t size, void *found)
{
    (void)size;
    if (!holds(object, (uintptr_t)&build_id)) {
        return 0;
    }
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uint64_t id = 0;

        if (segment->p_type == PT_NOTE) {
            id = find_note((const uint8_t *)(object->dlpi_addr + segment->p_vaddr),
                           segment->p_memsz);
        }
        if (id != 0) {
            *(uint64_t *)found = id;
        }
    }
    return 1;
}

uint64_t build_id(void)
{
    uint64_t id = 0;

    (void)dl_iterate_phdr(look, &id);
    return id;
}
