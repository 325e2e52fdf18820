/* Assignments from a file: an ordered list of rules, as JSON (spry/quantize.h shows one).
 */
#include "base/alloc.h"
#include "base/json.h"
#include "quantize/grid.h"
#include "spry/quantize.h"

struct spry_quantize_recipe {
    spry_allocator allocator;
    json_document *document; /* owns the texts */
    spry_quantize_assignment *rules;
    size_t capacity;
    int32_t count;
};

static spry_status read_name(const json_node *rule, const char *key, const char **name,
                             spry_error *error)
{
    return json_has(rule, key) ? json_get_string(rule, key, name, error) : SPRY_OK;
}

static spry_status read_bits(const json_node *rule, const char *key, int *bits, spry_error *error)
{
    int64_t number = *bits;
    spry_status status =
        json_has(rule, key) ? json_get_i64(rule, key, 0, GRID_MOST_BITS, &number, error) : SPRY_OK;

    *bits = (int)number;
    return status;
}

static spry_status read_rule(const json_node *node, spry_quantize_assignment *rule,
                             spry_error *error)
{
    static const char *const keys[] = {"name", "type", "weight_bits", "activation_bits",
                                       "excluded"};
    bool excluded = false;
    spry_status status = json_as_object(node, error);

    *rule = (spry_quantize_assignment){.weight_bits = SPRY_QUANTIZE_AS_ASKED,
                                       .activation_bits = SPRY_QUANTIZE_AS_ASKED};
    if (status == SPRY_OK) {
        status = json_check_keys(node, keys, sizeof keys / sizeof keys[0], error);
    }
    if (status == SPRY_OK) {
        status = read_name(node, "name", &rule->node, error);
    }
    if (status == SPRY_OK) {
        status = read_name(node, "type", &rule->type, error);
    }
    if (status == SPRY_OK) {
        status = read_bits(node, "weight_bits", &rule->weight_bits, error);
    }
    if (status == SPRY_OK) {
        status = read_bits(node, "activation_bits", &rule->activation_bits, error);
    }
    if (status == SPRY_OK && json_has(node, "excluded")) {
        status = json_get_bool(node, "excluded", &excluded, error);
    }
    if (status == SPRY_OK && excluded && rule->weight_bits > 0) {
        status = json_refuse(node, "excludes operators and gives them bits", error);
    }
    if (excluded) {
        rule->weight_bits = 0;
    }
    return status;
}

static spry_status read_rules(spry_quantize_recipe *r, spry_error *error)
{
    static const char *const keys[] = {"rules"};
    json_node root;
    json_node rules;
    spry_status status;

    json_root(r->document, &root);
    status = json_as_object(&root, error);
    if (status == SPRY_OK) {
        status = json_check_keys(&root, keys, 1, error);
    }
    if (status == SPRY_OK) {
        status = json_get_array(&root, "rules", &rules, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    r->capacity = json_length(&rules) + 1;
    r->rules = alloc_array(&r->allocator, r->capacity, sizeof *r->rules);
    if (r->rules == NULL) {
        return alloc_failed(error, r->capacity * sizeof *r->rules);
    }
    for (size_t i = 0; status == SPRY_OK && i < json_length(&rules); i++) {
        json_node rule;

        json_item(&rules, i, &rule);
        status = read_rule(&rule, &r->rules[i], error);
        r->count++;
    }
    return status;
}

spry_status spry_quantize_recipe_load(const spry_allocator *allocator, const char *path,
                                      spry_quantize_recipe **recipe, spry_error *error)
{
    spry_allocator a = alloc_resolve(allocator);
    spry_quantize_recipe *r = alloc_zeroed(&a, sizeof *r);
    spry_status status;

    *recipe = NULL;
    if (r == NULL) {
        return alloc_failed(error, sizeof *r);
    }
    r->allocator = a;
    status = json_open_file(path, &r->document, error);
    if (status == SPRY_OK) {
        status = read_rules(r, error);
    }
    if (status != SPRY_OK) {
        spry_quantize_recipe_destroy(r);
        return status;
    }
    *recipe = r;
    return SPRY_OK;
}

void spry_quantize_recipe_destroy(spry_quantize_recipe *recipe)
{
    if (recipe != NULL) {
        spry_allocator allocator = recipe->allocator;

        json_close(recipe->document);
        alloc_release(&allocator, recipe->rules, recipe->capacity * sizeof *recipe->rules);
        alloc_release(&allocator, recipe, sizeof *recipe);
    }
}

int32_t spry_quantize_recipe_rules(const spry_quantize_recipe *recipe,
                                   const spry_quantize_assignment **rules)
{
    *rules = recipe->rules;
    return recipe->count;
}
