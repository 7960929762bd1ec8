/* SPDX-License-Identifier: Apache-2.0 */
/* rand - random numbers: rand_bytes from the kernel, rand_u64 from a fast generator seeded by it, one a thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

void rand_bytes(void *out, size_t len);
uint64_t rand_u64(void);
uint64_t rand_below(uint64_t n);	/* uniform in [0, n), n > 0 */
