/* What is known after training. */
#include "base/alloc.h"
#include "train/trainer.h"

spry_status training_add_loss(spry_training *facts, float loss, spry_error *error)
{
    void *losses = facts->losses;
    spry_status status = alloc_grow(&facts->allocator, &losses, &facts->loss_capacity,
                                    (size_t)facts->loss_count + 1, sizeof loss, SIZE_MAX, error);

    facts->losses = losses;
    if (status == SPRY_OK) {
        facts->losses[facts->loss_count++] = loss;
    }
    return status;
}

spry_status training_add_epoch(spry_training *facts, const spry_train_epoch *epoch,
                               spry_error *error)
{
    void *epochs = facts->epochs;
    spry_status status = alloc_grow(&facts->allocator, &epochs, &facts->epoch_capacity,
                                    (size_t)facts->epoch_count + 1, sizeof *epoch, SIZE_MAX, error);

    facts->epochs = epochs;
    if (status == SPRY_OK) {
        facts->epochs[facts->epoch_count++] = *epoch;
    }
    return status;
}

void spry_training_destroy(spry_training *facts)
{
    spry_allocator allocator;

    if (facts == NULL) {
        return;
    }
    allocator = facts->allocator;
    alloc_release(&allocator, facts->epochs, facts->epoch_capacity * sizeof *facts->epochs);
    alloc_release(&allocator, facts->losses, facts->loss_capacity * sizeof *facts->losses);
    alloc_release(&allocator, facts, sizeof *facts);
}

const spry_training_totals *spry_training_totals_of(const spry_training *facts)
{
    return &facts->totals;
}

int64_t spry_training_epochs(const spry_training *facts, const spry_train_epoch **epochs)
{
    *epochs = facts->epochs;
    return facts->epoch_count;
}

int64_t spry_training_losses(const spry_training *facts, const float **losses)
{
    *losses = facts->losses;
    return facts->loss_count;
}
