/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rand.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/random.h>

void rand_bytes(void *out, size_t len)
{
	char *p = out;
	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort();
		p += n;
		len -= (size_t)n;
	}
}

/* A child of fork must not repeat its parent's numbers. */
static unsigned fork_count;

static void count_fork(void)
{
	fork_count++;
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, count_fork);
}

static inline uint64_t rotl(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

/* xoshiro256** 1.0 (Blackman, Vigna 2018). */
uint64_t rand_u64(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	static __thread uint64_t s[4];
	static __thread unsigned seeded_at;	/* fork_count + 1; 0: never */
	if (seeded_at != fork_count + 1) {
		pthread_once(&once, watch_forks);
		do
			rand_bytes(s, sizeof s);
		while ((s[0] | s[1] | s[2] | s[3]) == 0);
		seeded_at = fork_count + 1;
	}
	uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t rand_below(uint64_t n)
{
	assert(n > 0);
	/* Values below 2^64 mod n would favour small results. */
	uint64_t least = -n % n, r;
	do
		r = rand_u64();
	while (r < least);
	return r % n;
}
