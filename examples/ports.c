/* Loads a model and lists what it takes and gives: ports [MODEL] */
#include <spry/spry.h>
#include <stdio.h>

/* "image f32[N,1,32,32]": a name stands for a dimension that the caller chooses. */
static void print_port(const char *role, const spry_port *port)
{
    printf("%-7s %s %s[", role, port->name, spry_dtype_name(port->dtype));
    for (int axis = 0; axis < port->rank; axis++) {
        const char *comma = axis > 0 ? "," : "";
        if (port->shape[axis] >= 0) {
            printf("%s%lld", comma, (long long)port->shape[axis]);
        } else {
            printf("%s%s", comma, port->symbol[axis] != NULL ? port->symbol[axis] : "?");
        }
    }
    printf("]%s\n", port->rank < 0 ? " of unknown rank" : "");
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "examples/glyphs/glyphs.onnx";
    spry_error error = {0};
    spry_model *model = NULL;
    spry_port port;
    spry_status status = spry_model_load(NULL, path, &model, &error);

    if (status != SPRY_OK) {
        fprintf(stderr, "%s: %s\n", error.where, error.what);
        return (int)status;
    }
    for (int32_t i = 0; status == SPRY_OK && i < spry_model_input_count(model); i++) {
        status = spry_model_input(model, i, &port, &error);
        if (status == SPRY_OK) {
            print_port("input", &port);
        }
    }
    for (int32_t i = 0; status == SPRY_OK && i < spry_model_output_count(model); i++) {
        status = spry_model_output(model, i, &port, &error);
        if (status == SPRY_OK) {
            print_port("output", &port);
        }
    }
    spry_model_destroy(model);
    return (int)status;
}
