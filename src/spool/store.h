/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store - one key/value store on disk: what the kinds of spool have in common.
 *
 * All of it blocks: call it on the commit thread or through rt_offload. Writes come from one thread at a time, in the order given; reads
 * and walks may run beside them.
 *
 * Thread:  any that may block.   Memory: open to close.   Yields: never.
 */
#pragma once
#include "spool/spool.h"

struct store_write {
	struct uuid id;
	struct slice data;	/* ptr NULL: delete; what is not there is not missed */
	int rc;			/* out: 0, -E_IO, -E_FULL, -E_AGAIN (busy, try again) */
};

struct store;
struct store_walk;
struct store_kind {
	/* Makes the folder, takes the lock. Errors name the path and what to do. */
	int (*open)(const struct spool_opts *o, struct store **out);
	void (*close)(struct store *s);
	/* 0 when every write went well; else some rc of W tells. SYNC: survives loss of power when it returns. */
	int (*write)(struct store *s, struct store_write *w, size_t n, bool sync);
	/* What was written before survives loss of power when it returns; may run beside other calls. NULL: only write can. */
	int (*sync)(struct store *s);
	int (*get)(struct store *s, struct uuid id, char **data, size_t *len);	/* malloc'd; -E_NOENT */
	/* In key order, behind AFTER (NULL: from the first). VALUES false: ids only (cheaper where the store can). */
	int (*walk_begin)(struct store *s, bool values, const struct uuid *after, struct store_walk **out);
	bool (*walk_next)(struct store_walk *w, struct uuid *id, struct slice *value);	/* value.ptr NULL: cannot be read, err_text says why */
	int (*walk_end)(struct store_walk *w);					/* -E_IO: it ended early */
	bool walk_pins;		/* a walk keeps what is removed meanwhile: a long one should begin anew now and then */
	int (*compact)(struct store *s);
	int64_t (*shrink)(struct store *s);	/* gives memory back: bytes */
	/* Every few seconds: metrics, and whether the store still works. NULL: nothing to watch. */
	void (*monitor)(struct store *s, int64_t now_ms);
	bool (*is_unhealthy)(const struct store *s);
};
extern const struct store_kind STORE_ROCKSDB, STORE_LOCAL_DISK;

void rocks_metrics_init(void);

struct store {
	const struct store_kind *kind;
	char *name, *path;
	bool flush;
	int64_t deadline_ms;	/* store_deadline */
};

void store_init(struct store *s, const struct store_kind *kind, const struct spool_opts *o);
void store_fini(struct store *s);

/* For a store that may be busy (-E_AGAIN): do rc = …; while (patience_again(&p, rc)); Blocks between two tries. */
struct patience {
	int64_t until_ms;	/* of the monotonic clock: a disk knows no virtual time */
	unsigned pause_us;
};
int64_t store_mono_ms(void);
struct patience patience_until(const struct store *s);	/* its deadline, from now */
bool patience_again(struct patience *p, int rc);

/* mkdir -p; -E_… with "while creating directory structure: PATH: cause". */
int store_mkdirs(const char *path) WARN_UNUSED;
/* Whether this process can create, read and delete in PATH; the error says as whom it tried and what to do. */
int store_probe(const char *path) WARN_UNUSED;
