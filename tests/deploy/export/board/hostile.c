/* Rows of random bits, of the worst numbers and of common ones: NaN exactly where the return code says so. */
#include "student.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 88172645463325252u;

static uint32_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

int main(int count, char **arguments)
{
    static const uint32_t worst[8] = {0x7fc00000u, 0x7f800000u, 0xff800000u, 0x7f7fffffu,
                                      0x00000001u, 0x80000000u, 0x80000001u, 0xff7fffffu};
    const long rows = (count > 1) ? atol(arguments[1]) : 1000;
    long wrong = 0, refused = 0;
    for (long k = 0; k < rows; ++k) {
        float x[STUDENT_INPUTS], p[STUDENT_OUTPUTS], sum = 0.0f;
        int nan = 0, bad = 0;
        for (int i = 0; i < STUDENT_INPUTS; ++i) {
            const uint32_t kind = draw() % 64u;
            const uint32_t u = (kind == 0u) ? worst[draw() % 8u] : (kind == 1u) ? draw() : 0u;
            const float common = (float)(int32_t)draw() * 1e-9f;
            (void)memcpy(x + i, &common, sizeof common);
            if (kind < 2u) { (void)memcpy(x + i, &u, sizeof u); }
            (void)memcpy((void *)&bad, (kind < 2u) ? (const void *)&u : (const void *)&common, sizeof bad);
            nan |= ((((uint32_t)bad & 0x7f800000u) == 0x7f800000u) ? 1 : 0);
        }
        const int code = student_predict(x, p);
        refused += code;
        for (int c = 0; c < STUDENT_OUTPUTS; ++c) {
            uint32_t u;
            (void)memcpy(&u, p + c, sizeof u);
            wrong += (((u & 0x7fffffffu) > 0x7f800000u) ? 1 : 0) != code;
            sum += p[c];
        }
        wrong += (nan > code) + ((code == 0) && !((sum > 0.99f) && (sum < 1.01f)));
        wrong += ((student_classify(x) == -1) ? 1 : 0) != code;
    }
    (void)printf("%ld rows, %ld refused, %ld wrong\n", rows, refused, wrong);
    return (wrong != 0) || (refused == 0) || (refused == rows);
}
