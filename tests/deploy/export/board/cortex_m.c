/* What a Cortex-M needs before main: vectors, memory, FPU; and the host's console and exit by semihosting.
 * `cortex_m_instructions` counts by SysTick under qemu -icount shift=3: a tick of 40 ns is 5 instructions. */
#include <stdint.h>

extern uint32_t data_load, data_start, data_end, bss_start, bss_end, stack_top;
int main(void);
void reset(void);
void cortex_m_say(const char *text);
uint32_t cortex_m_ticks(void);

static int host(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void cortex_m_say(const char *text)
{
    (void)host(0x04, text);
}

uint32_t cortex_m_ticks(void)
{
    return 0xffffffu - *(volatile uint32_t *)0xe000e018u;
}

void reset(void)
{
    uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end; ++to) { *to = *from++; }
    for (uint32_t *to = &bss_start; to < &bss_end; ++to) { *to = 0u; }
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20;
    __asm__ volatile("dsb\n\tisb");
#endif
    *(volatile uint32_t *)0xe000e014u = 0xffffffu; /* SysTick: reload, clear, run on the processor's clock */
    *(volatile uint32_t *)0xe000e018u = 0u;
    *(volatile uint32_t *)0xe000e010u = 5u;
    const uint32_t end[2] = {0x20026u, (uint32_t)main()};
    (void)host(0x20, end);
    for (;;) { }
}

static void stuck(void)
{
    const uint32_t end[2] = {0x20026u, 99u};
    (void)host(0x20, end);
    for (;;) { }
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    &stack_top, (void *)reset, (void *)stuck, (void *)stuck, (void *)stuck, (void *)stuck, (void *)stuck,
};
