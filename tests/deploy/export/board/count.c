/* Instructions of one call, averaged over CALLS of them: says "NAME <n>" for each function. */
#include "student.h"

#ifndef CALLS
#define CALLS 200
#endif

void cortex_m_say(const char *text);
uint32_t cortex_m_ticks(void);
int main(void);

static void say_number(const char *name, uint32_t n)
{
    char text[12];
    int at = 11;
    text[at] = '\0';
    do {
        text[--at] = (char)('0' + (n % 10u));
        n /= 10u;
    } while (n != 0u);
    cortex_m_say(name);
    cortex_m_say(" ");
    cortex_m_say(text + at);
    cortex_m_say("\n");
}

static uint32_t nothing(uint32_t k)
{
    __asm__ volatile("" : "+r"(k));
    return k;
}

#define COUNT(name, call)                                                                   \
    do {                                                                                    \
        uint32_t start = cortex_m_ticks(), empty, full;                                     \
        for (uint32_t k = 0; k < CALLS; ++k) { (void)nothing(k); }                          \
        empty = cortex_m_ticks() - start;                                                   \
        start = cortex_m_ticks();                                                           \
        for (uint32_t k = 0; k < CALLS; ++k) { (void)nothing(k); call; }                    \
        full = cortex_m_ticks() - start;                                                    \
        say_number(name, ((full - empty) * 5u) / CALLS);                                    \
    } while (0)

int main(void)
{
    static float x[STUDENT_INPUTS], p[STUDENT_OUTPUTS];
    for (int i = 0; i < STUDENT_INPUTS; ++i) { x[i] = 0.25f * (float)(i % 7); }
    COUNT("predict", (void)student_predict(x, p));
    COUNT("classify", (void)student_classify(x));
#ifdef FIXED
    static int16_t q[STUDENT_INPUTS];
    static uint16_t u[STUDENT_OUTPUTS];
    (void)student_quantize(x, q);
    COUNT("predict_q", student_predict_q(q, u));
    COUNT("classify_q", (void)student_classify_q(q));
#endif
    return 0;
}
