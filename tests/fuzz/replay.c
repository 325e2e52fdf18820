/*
 * Stands in for libFuzzer where there is none: runs every file of the folders (or files) named on
 * the command line through a fuzz target once. So the stored corpora, found crashes among them,
 * are replayed by every compiler and sanitizer of the test matrix.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Targets may define it, as with libFuzzer. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { PATH_CAPACITY = 4096, INPUT_MAX = 64 << 20 };

/* Runs one file. Each input gets a block of exactly its size: reads past the end are then seen. */
static int replay_file(const char *path, size_t size)
{
    if (size > INPUT_MAX) {
        fprintf(stderr, "%s: %zu bytes are more than a corpus file may have\n", path, size);
        return -1;
    }
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (file == NULL || data == NULL || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        free(data);
        if (file != NULL) {
            fclose(file);
        }
        return -1;
    }
    fclose(file);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

/* Runs a file, or all files of a folder and its folders. Returns how many ran, -1 on a failure. */
static long replay(const char *path, int depth)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    if (!S_ISDIR(info.st_mode)) {
        return replay_file(path, (size_t)info.st_size) == 0 ? 1 : -1;
    }
    DIR *folder = depth < 4 ? opendir(path) : NULL;
    if (folder == NULL) {
        fprintf(stderr, "%s: cannot list this folder\n", path);
        return -1;
    }
    long count = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL && count >= 0;
         entry = readdir(folder)) {
        char child[PATH_CAPACITY];
        if (entry->d_name[0] == '.') {
            continue;
        }
        int length = snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        long ran = length > 0 && length < PATH_CAPACITY ? replay(child, depth + 1) : -1;
        count = ran < 0 ? -1 : count + ran;
    }
    closedir(folder);
    return count;
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize != NULL && LLVMFuzzerInitialize(&argc, &argv) != 0) {
        return EXIT_FAILURE;
    }
    long total = 0;
    for (int i = 1; i < argc; ++i) {
        long count = replay(argv[i], 0);
        if (count < 0) {
            return EXIT_FAILURE;
        }
        total += count;
    }
    printf("%ld inputs replayed\n", total);
    return total > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
