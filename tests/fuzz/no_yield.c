/* A loop yields the processor before it sleeps. A fuzzer, which has nobody to wait for, would wait for the machine. */
#include <sched.h>

int sched_yield(void)
{
    return 0;
}
