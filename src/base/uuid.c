/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "base/encode.h"
#include "base/err.h"
#include "base/rand.h"

#define TICKS_PER_US   10			/* 100 ns */
#define TICKS_TO_1970  0x01b21dd213814000LL	/* from 15 October 1582 */

static pthread_once_t node_once = PTHREAD_ONCE_INIT;
static uint8_t node_id[6];
static uint16_t clock_seq;
static _Atomic int64_t last_ticks;

/* The least MAC of the interfaces that have one, so that every start of one machine finds the same. */
static bool node_from_mac(uint8_t out[6])
{
	bool found = false;
	DIR *d = opendir("/sys/class/net");
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
		char path[300];
		unsigned m[6];
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/sys/class/net/%s/address", e->d_name);
		FILE *f = fopen(path, "r");
		if (f == NULL)
			continue;
		int n = fscanf(f, "%2x:%2x:%2x:%2x:%2x:%2x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]);
		fclose(f);
		if (n != 6 || (m[0] | m[1] | m[2] | m[3] | m[4] | m[5]) == 0)
			continue;
		uint8_t mac[6] = { (uint8_t)m[0], (uint8_t)m[1], (uint8_t)m[2], (uint8_t)m[3], (uint8_t)m[4], (uint8_t)m[5] };
		if (!found || memcmp(mac, out, 6) < 0)
			memcpy(out, mac, 6);
		found = true;
	}
	if (d != NULL)
		closedir(d);
	return found;
}

static void node_init(void)
{
	if (!node_from_mac(node_id)) {
		rand_bytes(node_id, sizeof node_id);
		node_id[0] |= 1;	/* multicast: no card's address (RFC 9562 6.10) */
	}
	rand_bytes(&clock_seq, sizeof clock_seq);
}

/* Now, in 100 ns since 1582; never the same twice. */
static int64_t next_ticks(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	int64_t now = ts.tv_sec * (TICKS_PER_US * 1000000LL) + ts.tv_nsec / 100 + TICKS_TO_1970;
	int64_t last = atomic_load_explicit(&last_ticks, memory_order_relaxed), next;
	do
		next = MAX(now, last + 1);
	while (!atomic_compare_exchange_weak(&last_ticks, &last, next));
	return next;
}

static void put_be(uint8_t *p, uint64_t n, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--, n >>= 8)
		p[i] = (uint8_t)n;
}

static uint64_t get_be(const uint8_t *p, int bytes)
{
	uint64_t n = 0;
	for (int i = 0; i < bytes; i++)
		n = n << 8 | p[i];
	return n;
}

static void set_tail(struct uuid *u, uint16_t seq, const uint8_t node[6])
{
	put_be(u->bytes + 8, 0x8000u | (seq & 0x3fffu), 2);
	memcpy(u->bytes + 10, node, 6);
}

static struct uuid make_v1(uint64_t ticks, uint16_t seq, const uint8_t node[6])
{
	struct uuid u;
	put_be(u.bytes, ticks & 0xffffffff, 4);
	put_be(u.bytes + 4, ticks >> 32 & 0xffff, 2);
	put_be(u.bytes + 6, 0x1000 | (ticks >> 48 & 0x0fff), 2);
	set_tail(&u, seq, node);
	return u;
}

struct uuid uuid_v1(void)
{
	pthread_once(&node_once, node_init);
	return make_v1((uint64_t)next_ticks(), clock_seq, node_id);
}

struct uuid uuid_v1_at(int64_t us, uint16_t seq, const uint8_t node[6])
{
	return make_v1((uint64_t)us * TICKS_PER_US + TICKS_TO_1970, seq, node);
}

struct uuid uuid_v6(void)
{
	struct uuid u;
	pthread_once(&node_once, node_init);
	uint64_t ticks = (uint64_t)next_ticks();
	put_be(u.bytes, ticks >> 12, 6);
	put_be(u.bytes + 6, 0x6000 | (ticks & 0x0fff), 2);
	set_tail(&u, clock_seq, node_id);
	return u;
}

static void set_version(struct uuid *u, uint8_t version)
{
	u->bytes[6] = (uint8_t)(version << 4 | (u->bytes[6] & 0x0f));
	u->bytes[8] = (uint8_t)(0x80 | (u->bytes[8] & 0x3f));
}

struct uuid uuid_v4(void)
{
	struct uuid u;
	rand_bytes(u.bytes, sizeof u.bytes);
	set_version(&u, 4);
	return u;
}

/* Identifiers of one process rise: what is below the millisecond (in 100 ns, 14 bits) stands in front of the random bits (RFC 9562 6.2, method 3). */
struct uuid uuid_v7(void)
{
	struct uuid u;
	uint64_t ticks = (uint64_t)(next_ticks() - TICKS_TO_1970), below = ticks % 10000;
	rand_bytes(u.bytes, sizeof u.bytes);
	put_be(u.bytes, ticks / 10000, 6);
	put_be(u.bytes + 6, below >> 2, 2);
	u.bytes[8] = (uint8_t)((below & 3) << 4 | (u.bytes[8] & 0x0f));
	set_version(&u, 7);
	return u;
}

static bool get_ticks(struct uuid u, uint64_t *ticks)
{
	switch (u.bytes[6] >> 4) {
	case 1:
		*ticks = (get_be(u.bytes + 6, 2) & 0x0fff) << 48 | get_be(u.bytes + 4, 2) << 32 | get_be(u.bytes, 4);
		return true;
	case 6:
		*ticks = get_be(u.bytes, 6) << 12 | (get_be(u.bytes + 6, 2) & 0x0fff);
		return true;
	}
	return false;
}

int64_t uuid_v1_us(struct uuid u)
{
	uint64_t ticks;
	return get_ticks(u, &ticks) ? ((int64_t)ticks - TICKS_TO_1970) / TICKS_PER_US : -1;
}

struct uuid uuid_v1_twin(struct uuid u)
{
	uint8_t node[6];
	uint16_t seq;
	uint64_t ticks;
	if (!get_ticks(u, &ticks))
		return uuid_v1();
	rand_bytes(node, sizeof node);
	rand_bytes(&seq, sizeof seq);
	node[0] |= 1;	/* multicast: no card's address */
	return make_v1(ticks, seq, node);
}

void uuid_put_simple(struct buf *b, struct uuid u)
{
	hex_put(b, slice_new(u.bytes, sizeof u.bytes), false);
}

void uuid_put(struct buf *b, struct uuid u)
{
	static const uint8_t groups[] = { 4, 2, 2, 2, 6 };
	size_t at = 0;
	for (size_t i = 0; i < sizeof groups; at += groups[i++]) {
		if (i > 0)
			buf_putc(b, '-');
		hex_put(b, slice_new(u.bytes + at, groups[i]), false);
	}
}

int uuid_parse(struct slice s, struct uuid *out)
{
	char digits[32];
	size_t n = 0;
	struct slice text = s;
	if (slice_starts_nocase(s, SLICE("urn:uuid:")))
		s = slice_sub(s, 9, SIZE_MAX);
	else if (s.len == 38 && s.ptr[0] == '{' && s.ptr[37] == '}')
		s = slice_sub(s, 1, 36);
	bool dashes = s.len == 36;
	if (!dashes && s.len != 32)
		return err_set(E_INVAL, "`%.*s` is no UUID: length %zu", (int)MIN(text.len, (size_t)64), text.ptr, text.len);
	for (size_t i = 0; i < s.len; i++) {
		if (dashes && (i == 8 || i == 13 || i == 18 || i == 23)) {
			if (s.ptr[i] != '-')
				return err_set(E_INVAL, "`%.*s` is no UUID", SLICE_ARG(text));
			continue;
		}
		digits[n++] = s.ptr[i];
	}
	struct buf bytes = { 0 };
	int rc = hex_decode(&bytes, slice_new(digits, n));
	if (rc == 0)
		memcpy(out->bytes, bytes.ptr, sizeof out->bytes);
	else
		err_prefix("`%.*s` is no UUID", SLICE_ARG(text));
	buf_fini(&bytes);
	return rc;
}
