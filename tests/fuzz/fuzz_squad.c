/* Any bytes as a file of questions: answers lie in their contexts, and can be scored. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "spry/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    spry_squad *s = NULL;
    spry_error error;

    if (spry_squad_parse(NULL, (const char *)data, size, "input", &s, &error) != SPRY_OK) {
        return 0;
    }
    for (int64_t i = 0; i < spry_squad_count(s) && i < 10; i++) {
        spry_squad_question q = spry_squad_at(s, i);
        double exact = 0;
        double f1 = 0;

        for (int32_t a = 0; a < q.answer_count; a++) {
            if (q.answers[a].begin >= 0 &&
                (size_t)q.answers[a].begin + strlen(q.answers[a].text) > strlen(q.context)) {
                __builtin_trap();
            }
        }
        if (spry_squad_score(&q, q.question, true, &exact, &f1, &error) == SPRY_OK &&
            !(f1 >= 0 && f1 <= 1 && exact >= 0 && exact <= 1)) {
            __builtin_trap();
        }
    }
    spry_squad_close(s);
    return 0;
}
