/* The pool in which passwords are hashed: threads times 19 MiB at most. One a process. */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include "common/offload.h"

void password_pool_open(unsigned threads, unsigned queue_max);
void password_pool_close(void);
struct offload_stats password_stats(void); /* any thread; done: hashes computed, not those that were too late */

#endif
