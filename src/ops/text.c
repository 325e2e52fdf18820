/* Operators on strings, and the encoders of the machine-learning domain that map labels. */
#include <string.h>

#include "base/limits.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "tensor/convert.h"

static bool same_text(const spry_text *a, const spry_text *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

/* The strings of an attribute; NULL and 0 when absent. */
static const spry_text *attribute_texts(const graph_node *node, const char *name, int64_t *count)
{
    const graph_attribute *a = graph_attribute_find(node, name);

    *count = a != NULL && a->kind == GRAPH_ATTRIBUTE_STRINGS ? a->count : 0;
    return *count > 0 ? a->as.strings : NULL;
}

/* ---- StringConcat ---- */

static spry_status run_concat(op_call *call)
{
    const tensor *inputs[2] = {op_call_input(call, 0), op_call_input(call, 1)};
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int rank = inputs[0]->rank > inputs[1]->rank ? inputs[0]->rank : inputs[1]->rank;
    tensor *out;
    spry_status status;

    for (int i = 0; i < rank; i++) {
        int64_t sizes[2];

        for (int k = 0; k < 2; k++) {
            int axis = i - (rank - inputs[k]->rank);

            sizes[k] = axis >= 0 ? inputs[k]->shape[axis] : 1;
        }
        if (sizes[0] != sizes[1] && sizes[0] != 1 && sizes[1] != 1) {
            return op_call_fail(call, SPRY_BAD_INPUT, "the shapes cannot be broadcast");
        }
        shape[i] = sizes[0] == 1 ? sizes[1] : sizes[0];
    }
    status = op_call_output(call, 0, SPRY_DTYPE_STRING, rank, shape, &out);
    for (int64_t i = 0; status == SPRY_OK && out != NULL && i < tensor_count(out); i++) {
        const spry_text *parts[2];
        spry_text *to = (spry_text *)out->data + i;
        char *joined;

        for (int k = 0; k < 2; k++) {
            int64_t rest = i;
            int64_t at = 0;
            int64_t step = 1;

            for (int axis = rank - 1; axis >= rank - inputs[k]->rank; axis--) {
                int64_t size = inputs[k]->shape[axis - (rank - inputs[k]->rank)];

                at += size == 1 ? 0 : rest % shape[axis] * step;
                rest /= shape[axis];
                step *= size;
            }
            parts[k] = (const spry_text *)inputs[k]->data + at;
        }
        joined = arena_bytes(call->text, parts[0]->size + parts[1]->size + 1);
        if (joined == NULL) {
            return op_call_fail(call, SPRY_LIMIT, "memory for text ran out");
        }
        if (parts[0]->size > 0) {
            memcpy(joined, parts[0]->data, parts[0]->size);
        }
        if (parts[1]->size > 0) {
            memcpy(joined + parts[0]->size, parts[1]->data, parts[1]->size);
        }
        *to = (spry_text){joined, parts[0]->size + parts[1]->size};
    }
    return status;
}

/* ---- StringSplit ---- */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Takes the next part off `rest`; false when there is none. `last` takes all that is left. Without
 * a delimiter runs of white space separate and never give empty parts. */
static bool next_part(spry_text *rest, const char *delimiter, bool last, spry_text *part)
{
    size_t width = strlen(delimiter);
    size_t end = 0;

    if (rest->data == NULL) {
        return false;
    }
    while (width == 0 && rest->size > 0 && is_space(rest->data[0])) {
        rest->data++;
        rest->size--;
    }
    if (width == 0 && rest->size == 0) {
        return false;
    }
    while (end < rest->size &&
           (last || (width == 0 ? !is_space(rest->data[end])
                                : rest->size - end < width ||
                                      memcmp(rest->data + end, delimiter, width) != 0))) {
        end++;
    }
    *part = (spry_text){rest->data, end};
    if (end == rest->size) {
        rest->data = NULL;
        return true;
    }
    width = width == 0 ? 1 : width;
    *rest = (spry_text){rest->data + end + width, rest->size - end - width};
    return true;
}

/* Parts of one string into `to` (NULL: only counted), at most `room`. An empty string has none. */
static int64_t split_text(const graph_node *node, const spry_text *text, spry_text *to)
{
    const char *delimiter = graph_attribute_string(node, "delimiter", "");
    int64_t most = graph_attribute_int(node, "maxsplit", INT64_MAX);
    spry_text rest = {text->size > 0 ? text->data : NULL, text->size};
    spry_text part;
    int64_t count = 0;

    while (next_part(&rest, delimiter, count == most, &part)) {
        if (to != NULL) {
            to[count] = part;
        }
        count++;
    }
    return count;
}

static spry_status infer_split(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];

    if (x == NULL || x->rank >= SPRY_TENSOR_MAX_RANK) {
        op_shapes_set_unranked(s, 0, SPRY_DTYPE_STRING);
        return operand_unranked(s, 1, SPRY_DTYPE_I64);
    }
    memcpy(dims, x->dims, sizeof dims);
    op_shapes_set(s, 1, SPRY_DTYPE_I64, x->rank, dims);
    dims[x->rank] = operand_unknown;
    op_shapes_set(s, 0, SPRY_DTYPE_STRING, x->rank + 1, dims);
    return SPRY_OK;
}

static spry_status run_split(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const spry_text *texts = x->data;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t widest = 0;
    tensor *parts;
    tensor *counts;
    spry_status status;

    if (x->rank == SPRY_TENSOR_MAX_RANK) {
        return op_call_fail(call, SPRY_UNSUPPORTED, "rank %d", x->rank);
    }
    for (int64_t i = 0; i < tensor_count(x); i++) {
        int64_t count = split_text(call->node, &texts[i], NULL);

        widest = count > widest ? count : widest;
    }
    memcpy(shape, x->shape, sizeof shape);
    shape[x->rank] = widest;
    status = op_call_output(call, 0, SPRY_DTYPE_STRING, x->rank + 1, shape, &parts);
    if (status == SPRY_OK) {
        status = op_call_output(call, 1, SPRY_DTYPE_I64, x->rank, shape, &counts);
    }
    for (int64_t i = 0; i < tensor_count(x) && status == SPRY_OK; i++) {
        spry_text *to = parts != NULL ? (spry_text *)parts->data + i * widest : NULL;
        int64_t count = split_text(call->node, &texts[i], to);

        for (int64_t k = count; k < widest && to != NULL; k++) {
            to[k] = (spry_text){"", 0};
        }
        if (counts != NULL) {
            ((int64_t *)counts->data)[i] = count;
        }
    }
    return status;
}

/* ---- StringNormalizer ---- */

/* ASCII and the accented letters of Latin-1 (two bytes each in UTF-8, the first 0xc3). */
static void change_case(char *text, size_t size, bool upper)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];

        if (upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z') {
            text[i] = (char)(c ^ 0x20);
        } else if (i > 0 && (unsigned char)text[i - 1] == 0xc3 && c != (upper ? 0xb7 : 0x97) &&
                   (upper ? c >= 0xa0 && c <= 0xbe : c >= 0x80 && c <= 0x9e)) {
            text[i] = (char)(c ^ 0x20);
        }
    }
}

/* A copy of `text` in that case. */
static spry_status copy_case(op_call *call, const spry_text *text, char action, spry_text *to)
{
    char *copy = arena_text(call->text, text->size > 0 ? text->data : "", text->size);

    if (copy == NULL) {
        return op_call_fail(call, SPRY_LIMIT, "memory for text ran out");
    }
    if (action != 'N') {
        change_case(copy, text->size, action == 'U');
    }
    *to = (spry_text){copy, text->size};
    return SPRY_OK;
}

static bool is_stopword(const spry_text *text, const spry_text *words, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (same_text(text, &words[i])) {
            return true;
        }
    }
    return false;
}

static spry_status infer_normalizer(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_dim dims[2] = {{.size = 1}, operand_unknown};

    if (x == NULL) {
        return operand_unranked(s, 0, SPRY_DTYPE_STRING);
    }
    if (x->rank < 1 || x->rank > 2) {
        return op_shapes_fail(s, "needs a list or a matrix of one row");
    }
    op_shapes_set(s, 0, SPRY_DTYPE_STRING, x->rank, x->rank == 1 ? dims + 1 : dims);
    return SPRY_OK;
}

/* The stop words as they are compared: in lower case unless case counts. */
static spry_status read_stopwords(op_call *call, bool sensitive, spry_text **words, int64_t *count)
{
    const spry_text *given = attribute_texts(call->node, "stopwords", count);
    void *memory;
    spry_status status = op_call_scratch(call, ((size_t)*count + 1) * sizeof **words, &memory);

    *words = memory;
    for (int64_t i = 0; i < *count && status == SPRY_OK; i++) {
        status = copy_case(call, &given[i], sensitive ? 'N' : 'L', &(*words)[i]);
    }
    return status;
}

static spry_status run_normalizer(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const spry_text *texts = x->data;
    char action = graph_attribute_string(call->node, "case_change_action", "NONE")[0];
    bool sensitive = graph_attribute_int(call->node, "is_case_sensitive", 0) != 0;
    int64_t shape[2] = {1, 1};
    spry_text *words;
    spry_text *kept;
    void *memory;
    int64_t word_count;
    int64_t found = 0;
    tensor *out;
    spry_status status = read_stopwords(call, sensitive, &words, &word_count);

    if (x->rank < 1 || x->rank > 2 || (x->rank == 2 && x->shape[0] != 1)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "needs a list or a matrix of one row");
    }
    if (status == SPRY_OK) {
        status = op_call_scratch(call, ((size_t)tensor_count(x) + 1) * sizeof *kept, &memory);
    }
    kept = status == SPRY_OK ? memory : NULL;
    for (int64_t i = 0; i < tensor_count(x) && status == SPRY_OK; i++) {
        spry_text compared = texts[i];

        if (!sensitive) {
            status = copy_case(call, &texts[i], 'L', &compared);
        }
        if (status == SPRY_OK && !is_stopword(&compared, words, word_count)) {
            status = copy_case(call, &texts[i], action, &kept[found++]);
        }
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (found == 0) {
        kept[found++] = (spry_text){"", 0};
    }
    shape[x->rank - 1] = found;
    status = op_call_output(call, 0, SPRY_DTYPE_STRING, x->rank, shape, &out);
    if (status == SPRY_OK && out != NULL) {
        memcpy(out->data, kept, (size_t)found * sizeof *kept);
    }
    return status;
}

/* ---- TfIdfVectorizer ---- */

typedef struct gram_pool {
    const int64_t *ints; /* or texts */
    const spry_text *texts;
    int64_t size;
    const int64_t *counts; /* where the n-grams of each n start */
    int64_t kinds;
    const int64_t *columns;
    int64_t column_count;
    const float *weights;
    int64_t least, most, skips;
    int64_t width; /* of the result */
} gram_pool;

static bool read_pool(const graph_node *node, gram_pool *p)
{
    int64_t ints;
    int64_t texts;
    int64_t weights;
    int64_t grams = 0;

    p->ints = graph_attribute_ints(node, "pool_int64s", &ints);
    p->texts = attribute_texts(node, "pool_strings", &texts);
    p->size = p->texts != NULL ? texts : ints;
    p->counts = graph_attribute_ints(node, "ngram_counts", &p->kinds);
    p->columns = graph_attribute_ints(node, "ngram_indexes", &p->column_count);
    p->weights = graph_attribute_floats(node, "weights", &weights);
    p->least = graph_attribute_int(node, "min_gram_length", 1);
    p->most = graph_attribute_int(node, "max_gram_length", 1);
    p->skips = graph_attribute_int(node, "max_skip_count", 0);
    p->width = 0;
    for (int64_t i = 0; i < p->column_count; i++) {
        if (p->columns[i] < 0 || p->columns[i] >= LIMIT_TENSOR_DIMENSION) {
            return false;
        }
        p->width = p->columns[i] >= p->width ? p->columns[i] + 1 : p->width;
    }
    for (int64_t n = 1; n <= p->kinds; n++) {
        int64_t end = n < p->kinds ? p->counts[n] : p->size;

        if (p->counts[n - 1] < 0 || end < p->counts[n - 1] || end > p->size) {
            return false;
        }
        grams += (end - p->counts[n - 1]) / n;
    }
    return grams <= p->column_count && (p->weights == NULL || weights >= grams) && p->least >= 1 &&
           p->most >= p->least && p->most <= p->kinds && p->skips >= 0 &&
           p->skips <= LIMIT_TENSOR_DIMENSION;
}

/* Is the n-gram at `at` of the row, with that stride, the one at `place` in the pool? */
static bool same_gram(const gram_pool *p, const tensor *x, int64_t at, int64_t stride,
                      int64_t place, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        bool same = p->texts != NULL ? same_text((const spry_text *)x->data + at + k * stride,
                                                 &p->texts[place + k])
                                     : convert_get_i64(x, at + k * stride) == p->ints[place + k];

        if (!same) {
            return false;
        }
    }
    return true;
}

/* Counts the pool's n-grams of length n in one row. `gram` is the number of the first of them. */
static void count_grams(const gram_pool *p, const tensor *x, int64_t row, int64_t length, int64_t n,
                        int64_t gram, double *counts)
{
    int64_t begin = p->counts[n - 1];
    int64_t end = n < p->kinds ? p->counts[n] : p->size;

    for (int64_t stride = 1; stride <= (n == 1 ? 1 : p->skips + 1); stride++) {
        if (stride > length) {
            return;
        }
        for (int64_t at = 0; at + stride * (n - 1) < length; at++) {
            for (int64_t i = 0; i < (end - begin) / n; i++) {
                if (same_gram(p, x, row * length + at, stride, begin + i * n, n)) {
                    counts[gram + i]++;
                }
            }
        }
    }
}

static spry_status infer_grams(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim dims[2];
    gram_pool p;

    if (!read_pool(s->node, &p)) {
        return op_shapes_fail(s, "the pool's attributes do not fit each other");
    }
    if (x == NULL || x->rank < 1 || x->rank > 2) {
        return operand_unranked(s, 0, SPRY_DTYPE_F32);
    }
    dims[0] = x->dims[0];
    dims[x->rank - 1] = (graph_dim){.size = p.width};
    op_shapes_set(s, 0, SPRY_DTYPE_F32, x->rank, dims);
    return SPRY_OK;
}

static spry_status run_grams(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const char *mode = graph_attribute_string(call->node, "mode", "TF");
    bool weighted = strcmp(mode, "TF") != 0;
    bool binary = strcmp(mode, "IDF") == 0;
    int64_t shape[2];
    int64_t rows;
    int64_t length;
    double *counts;
    void *memory;
    gram_pool p;
    tensor *out;
    spry_status status;

    if (!read_pool(call->node, &p) || x->rank < 1 || x->rank > 2 ||
        (x->dtype == SPRY_DTYPE_STRING) != (p.texts != NULL)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "pool and input do not fit each other");
    }
    rows = x->rank == 2 ? x->shape[0] : 1;
    length = x->shape[x->rank - 1];
    shape[0] = rows;
    shape[x->rank - 1] = p.width;
    status = op_call_output(call, 0, SPRY_DTYPE_F32, x->rank, shape, &out);
    if (status == SPRY_OK) {
        status = op_call_scratch(call, ((size_t)p.column_count + 1) * sizeof *counts, &memory);
    }
    if (status != SPRY_OK || out == NULL || out->bytes == 0) {
        return status;
    }
    counts = memory;
    memset(out->data, 0, out->bytes);
    for (int64_t row = 0; row < rows; row++) {
        float *to = (float *)out->data + row * p.width;
        int64_t gram = 0;

        memset(counts, 0, (size_t)p.column_count * sizeof *counts);
        for (int64_t n = 1; n <= p.most; n++) {
            if (n >= p.least) {
                count_grams(&p, x, row, length, n, gram, counts);
            }
            gram += ((n < p.kinds ? p.counts[n] : p.size) - p.counts[n - 1]) / n;
        }
        for (int64_t i = 0; i < gram; i++) {
            double weight = p.weights != NULL && weighted ? (double)p.weights[i] : 1;
            double count = binary ? 1 : counts[i];

            if (counts[i] > 0) {
                to[p.columns[i]] = (float)(count * weight);
            }
        }
    }
    return SPRY_OK;
}

/* ---- LabelEncoder, Binarizer ---- */

/* A list of keys or values, or the default, as a tensor over attribute data. */
static bool label_list(const graph_node *node, const char *const *names, tensor *t)
{
    static const spry_dtype dtypes[] = {SPRY_DTYPE_NONE, SPRY_DTYPE_STRING, SPRY_DTYPE_I64,
                                        SPRY_DTYPE_F32};

    for (int i = 0; i < 4; i++) {
        const graph_attribute *a = graph_attribute_find(node, names[i]);

        if (a == NULL) {
            continue;
        }
        if (i == 0) {
            *t = a->as.tensors[0];
            return a->kind == GRAPH_ATTRIBUTE_TENSOR;
        }
        return a->kind != GRAPH_ATTRIBUTE_TENSOR &&
               tensor_init(t, dtypes[i], 1, &a->count, (void *)(uintptr_t)a->as.ints, NULL) ==
                   SPRY_OK;
    }
    return false;
}

static const char *const key_names[] = {"keys_tensor", "keys_strings", "keys_int64s",
                                        "keys_floats"};
static const char *const value_names[] = {"values_tensor", "values_strings", "values_int64s",
                                          "values_floats"};

/* Keys and values; version 1 has one list of classes, whose positions are the other side. */
static bool read_labels(const graph_node *node, spry_dtype from, tensor *keys, tensor *values)
{
    static const char *const classes[] = {"", "classes_strings", "", ""};

    if (node->opset >= 2) {
        return label_list(node, key_names, keys) && label_list(node, value_names, values) &&
               tensor_count(keys) == tensor_count(values);
    }
    *keys = (tensor){.dtype = SPRY_DTYPE_NONE};
    *values = *keys;
    return label_list(node, classes, from == SPRY_DTYPE_STRING ? keys : values);
}

static spry_dtype label_dtype(const graph_node *node, spry_dtype from)
{
    tensor keys;
    tensor values;

    if (node->opset < 2) {
        return from == SPRY_DTYPE_STRING ? SPRY_DTYPE_I64 : SPRY_DTYPE_STRING;
    }
    return read_labels(node, from, &keys, &values) ? values.dtype : SPRY_DTYPE_NONE;
}

static spry_status infer_labels(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    spry_dtype dtype = label_dtype(s->node, operand_dtype(s, 0));

    if (x == NULL || dtype == SPRY_DTYPE_NONE) {
        return operand_unranked(s, 0, x == NULL && s->node->opset < 2 ? SPRY_DTYPE_NONE : dtype);
    }
    op_shapes_set(s, 0, dtype, x->rank, x->dims);
    return SPRY_OK;
}

/* Position of element `i` of x among the keys, -1 when it is not there. NaN finds NaN. */
static int64_t find_label(const tensor *x, int64_t i, const tensor *keys)
{
    if (keys->dtype == SPRY_DTYPE_NONE) {
        return convert_get_i64(x, i);
    }
    for (int64_t k = 0; k < tensor_count(keys); k++) {
        bool same;

        if (x->dtype == SPRY_DTYPE_STRING) {
            same = same_text((const spry_text *)x->data + i, (const spry_text *)keys->data + k);
        } else if (dtype_class_of(x->dtype) == DTYPE_CLASS_FLOAT) {
            double a = convert_get_f64(x, i);
            double b = convert_get_f64(keys, k);

            same = a == b || (a != a && b != b);
        } else {
            same = convert_get_i64(x, i) == convert_get_i64(keys, k);
        }
        if (same) {
            return k;
        }
    }
    return -1;
}

/* Writes value `at`, or the default where that is not one. */
static void write_label(const graph_node *node, const tensor *values, int64_t at, tensor *out,
                        int64_t i)
{
    const graph_attribute *a = graph_attribute_find(node, "default_tensor");
    const graph_attribute *text = graph_attribute_find(node, "default_string");
    static const spry_text unused = {"_Unused", 7};
    bool found = at >= 0 && (values->dtype == SPRY_DTYPE_NONE || at < tensor_count(values));
    const tensor *from = found ? values
                         : a != NULL && a->kind == GRAPH_ATTRIBUTE_TENSOR &&
                                 a->as.tensors[0].dtype == out->dtype &&
                                 tensor_count(a->as.tensors) > 0
                             ? a->as.tensors
                             : NULL;
    int64_t place = found ? at : 0;

    if (out->dtype == SPRY_DTYPE_STRING) {
        spry_text *to = (spry_text *)out->data + i;

        *to = from != NULL   ? ((const spry_text *)from->data)[place]
              : text != NULL ? text->as.strings[0]
                             : unused;
    } else if (dtype_class_of(out->dtype) == DTYPE_CLASS_FLOAT) {
        double number = from != NULL ? convert_get_f64(from, place)
                                     : (double)graph_attribute_float(node, "default_float", -0.0F);

        convert_write_f64(out, i, 1, &number);
    } else {
        int64_t number = from == NULL ? graph_attribute_int(node, "default_int64", -1)
                         : from->dtype == SPRY_DTYPE_NONE ? at
                                                          : convert_get_i64(from, place);

        convert_write_i64(out, i, 1, &number);
    }
}

static spry_status run_labels(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    tensor keys;
    tensor values;
    tensor *out;
    spry_status status;

    if (!read_labels(call->node, x->dtype, &keys, &values) ||
        (keys.dtype != SPRY_DTYPE_NONE && keys.dtype != x->dtype)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "keys, values and input do not fit each other");
    }
    status = op_call_output_like(call, 0, label_dtype(call->node, x->dtype), x, &out);
    for (int64_t i = 0; status == SPRY_OK && out != NULL && i < tensor_count(x); i++) {
        write_label(call->node, &values, find_label(x, i, &keys), out, i);
    }
    return status;
}

static spry_status run_binarizer(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    double threshold = (double)graph_attribute_float(call->node, "threshold", 0);
    tensor *out;
    spry_status status = op_call_output_like(call, 0, x->dtype, x, &out);

    for (int64_t i = 0; status == SPRY_OK && out != NULL && i < tensor_count(x); i++) {
        int64_t number = convert_get_f64(x, i) > threshold;

        convert_write_i64(out, i, 1, &number);
    }
    return status;
}

#define LABEL_TYPES (OP_STRING | OP_INDEX | OP_FLOATS | 1u << SPRY_DTYPE_I16)

/* clang-format off */
const op ops_text[] = {
    {.name = "Binarizer", .domain = "ai.onnx.ml", .since = 1, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .flags = OP_IN_PLACE, .types = {OP_FLOATS | OP_INDEX},
     .infer = op_infer_same, .run = run_binarizer},
    {.name = "LabelEncoder", .domain = "ai.onnx.ml", .since = 1, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .types = {LABEL_TYPES}, .infer = infer_labels,
     .run = run_labels},
    {.name = "StringConcat", .domain = "", .since = 20, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_STRING, OP_STRING},
     .infer = op_infer_broadcast, .run = run_concat},
    {.name = "StringNormalizer", .domain = "", .since = 10, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_STRING}, .infer = infer_normalizer,
     .run = run_normalizer},
    {.name = "StringSplit", .domain = "", .since = 20, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 2, .types = {OP_STRING}, .infer = infer_split,
     .run = run_split},
    {.name = "TfIdfVectorizer", .domain = "", .since = 9, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_STRING | OP_INDEX}, .infer = infer_grams,
     .run = run_grams},
    {.name = NULL},
};
/* clang-format on */
