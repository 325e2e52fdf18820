/* spry simulate metro SCHEDULE.json: is that a schedule? */
#include "cli/simulate/metro.h"

typedef struct checked {
    int64_t cycles, flit_links;
    double seconds;
    size_t entries;
    int flows;
} checked;

static spry_status check_burst(const json_node *from, const char *path, size_t number, checked *sum,
                               spry_error *error)
{
    metro_flows flows = {0};
    metro_schedule s = {0};
    metro_program p = {0};
    metro_replayed replayed = {0};
    spry_status status = metro_schedule_read(from, &flows, &s, &p, error);

    if (status == SPRY_OK) {
        double begin = simulate_seconds();

        status = metro_replay(&s, &p, &replayed, error);
        sum->seconds += simulate_seconds() - begin;
    }
    if (status == SPRY_OK && s.count > 0 && replayed.finish > s.makespan) {
        status = json_refuse(from, "takes longer than its makespan", error);
    }
    if (status == SPRY_INTERNAL) { /* here it is the file's, not ours */
        status = spry_fail(error, SPRY_BAD_INPUT, path, NULL, "burst %zu: %s", number, error->what);
    }
    sum->cycles += s.makespan;
    sum->flit_links += replayed.flit_links;
    sum->entries += p.count;
    sum->flows += flows.count;
    metro_program_fini(&p);
    metro_schedule_fini(&s);
    metro_flows_fini(&flows);
    return status;
}

spry_status metro_check(const cli_call *call, spry_error *error)
{
    const output_record record = {.model = call->arguments[1]};
    checked sum = {0};
    json_document *document = NULL;
    json_node root;
    json_node bursts;
    json_node burst;
    size_t count = 0;
    report r = {0};
    spry_status status = json_open_file(call->arguments[1], &document, error);

    if (status == SPRY_OK) {
        json_root(document, &root);
        status = json_get_array(&root, "bursts", &bursts, error);
    }
    if (status == SPRY_OK) {
        count = json_length(&bursts);
    }
    for (size_t i = 0; i < count && status == SPRY_OK; i++) {
        json_item(&bursts, i, &burst);
        status = check_burst(&burst, call->arguments[1], i, &sum, error);
    }
    json_close(document);
    output_detail(call, "replayed at %.1f M flit-links/s",
                  (double)sum.flit_links * 1e-6 / (sum.seconds + 1e-9));
    if (status == SPRY_OK) {
        simulate_report(&r, call, "A schedule, replayed");
        report_number(&r, "bursts", "bursts", (double)count, 0, "");
        report_number(&r, "flows", "flows", sum.flows, 0, "");
        report_number(&r, "makespan", "cycles", (double)sum.cycles, 0, "");
        report_number(&r, "flit_links", "flit-links", (double)sum.flit_links, 0, "");
        report_number(&r, "entries", "tables", (double)sum.entries, 0, "entries");
        report_word(&r, "verdict", "verdict", "every flit arrives, no two want one link");
        status = simulate_tell(call, &r, NULL, &record, error);
    }
    report_fini(&r);
    return status;
}
