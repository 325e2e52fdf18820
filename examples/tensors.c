/* Makes tensors, writes them to files, reads them back.
 *
 * Files: one tensor as NPY, several with names as NPZ (safetensors works alike). */
#define _XOPEN_SOURCE 700 /* mkdtemp */
#include <spry/spry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* x[row, column] = 10 row + column, and the sums of its rows. */
static spry_status make(spry_tensor **table, spry_tensor **sums, spry_error *error)
{
    const int64_t shape[] = {2, 3};
    spry_status status = spry_tensor_create(NULL, SPRY_DTYPE_F32, 2, shape, table, error);

    if (status == SPRY_OK) {
        status = spry_tensor_create(NULL, SPRY_DTYPE_F32, 1, shape, sums, error);
    }
    if (status == SPRY_OK) {
        float *x = spry_tensor_data(*table);
        float *sum = spry_tensor_data(*sums);
        for (size_t i = 0; i < 6; i++) {
            x[i] = (float)(10 * (i / 3) + i % 3);
            sum[i / 3] += x[i]; /* new tensors are zero */
        }
    }
    return status;
}

static void print_entries(spry_archive *archive)
{
    for (int32_t i = 0; i < spry_archive_count(archive); i++) {
        const spry_tensor *tensor = NULL;
        if (spry_archive_tensor(archive, i, &tensor, NULL) == SPRY_OK) {
            printf("%s: %s, rank %d, %lld elements, %zu bytes\n", spry_archive_name(archive, i),
                   spry_dtype_name(spry_tensor_dtype(tensor)), spry_tensor_rank(tensor),
                   (long long)spry_tensor_count(tensor), spry_tensor_bytes(tensor));
        }
    }
}

int main(void)
{
    static const char *const names[] = {"table", "sums"};
    char folder[] = "/tmp/spry_tensors_XXXXXX";
    char single[64];
    char several[64];
    spry_error error = {0};
    spry_tensor *table = NULL;
    spry_tensor *sums = NULL;
    spry_tensor *again = NULL;
    spry_archive *archive = NULL;

    if (mkdtemp(folder) == NULL) {
        return SPRY_IO;
    }
    (void)snprintf(single, sizeof single, "%s/table.npy", folder);
    (void)snprintf(several, sizeof several, "%s/both.npz", folder);
    spry_status status = make(&table, &sums, &error);
    if (status == SPRY_OK) {
        status = spry_tensor_save(table, single, &error);
    }
    if (status == SPRY_OK) {
        status = spry_tensor_load(NULL, single, &again, &error);
    }
    if (status == SPRY_OK) {
        bool same = spry_tensor_bytes(again) == spry_tensor_bytes(table) &&
                    memcmp(spry_tensor_const_data(again), spry_tensor_const_data(table),
                           spry_tensor_bytes(table)) == 0;
        printf("%s holds %s\n", single, same ? "what was written" : "something else");
        const spry_tensor *const both[] = {table, sums};
        status = spry_archive_save(several, 2, names, both, &error);
    }
    if (status == SPRY_OK) {
        status = spry_archive_open(NULL, several, &archive, &error);
    }
    if (status == SPRY_OK) {
        print_entries(archive);
    } else {
        fprintf(stderr, "%s: %s\n", error.where, error.what);
    }
    spry_archive_close(archive);
    spry_tensor_destroy(again);
    spry_tensor_destroy(sums);
    spry_tensor_destroy(table);
    (void)remove(single);
    (void)remove(several);
    (void)rmdir(folder);
    return (int)status;
}
