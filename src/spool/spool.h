/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spool - where messages wait: two stores, "meta" (envelope JSON) and "data" (the body), keyed by the message's id.
 *
 * Formats are upstream's, so that a running system's spool can be taken over: RocksDB with the 16 raw bytes of the id as key, or
 * LocalDisk with a file data/aa/bb/cc/dd/rest for each.
 *
 * Writes of all shards are gathered: while one batch is written the next fills (group commit). A store writes data before meta; a
 * removal deletes meta before data, so that a crash leaves at worst a body without an envelope: spool_sweep finds those.
 * Health: a database that fails, or a full disk, makes spool_unhealthy_reason() say so, and acceptance answers 421/503.
 *
 * Thread:  any shard.   Memory: process-wide, from spool_define to spool_fini.   Yields: where it says so; nothing here blocks a loop.
 */
#pragma once
#include "base/uuid.h"
#include "codec/opt.h"
#include "msg/msg.h"
#include "spool/diskfree.h"

enum spool_kind { SPOOL_LOCAL_DISK, SPOOL_ROCKSDB };
enum spool_which { SPOOL_META, SPOOL_DATA, SPOOL_WHICH_COUNT };

/* docs: kumo.define_spool, rocks_params. 0 in a number: RocksDB's (or our) own choice. */
struct spool_rocks_opts {
	int64_t increase_parallelism, optimize_level_style_compaction, optimize_universal_style_compaction;
	bool paranoid_checks;
	int compression_type;			/* rocksdb_*_compression */
	int64_t compaction_readahead_size;
	bool level_compaction_dynamic_level_bytes;
	int64_t max_open_files, write_buffer_size, level0_stop_writes_trigger;
	int log_level;
	int64_t memtable_huge_page_size;
	int64_t log_file_time_to_roll, obsolete_files_period;	/* ns */
	int64_t limit_concurrent_stores, limit_concurrent_loads, limit_concurrent_removes;
	int64_t store_deadline, error_latch_duration, error_unlatch_duration;	/* ns */
	bool allow_error_unlatch;
};
struct spool_opts {
	struct slice name, path;
	int kind;
	bool flush;
	struct spool_rocks_opts rocks_params;
	struct diskfree_min min_free_space, min_free_inodes;
};
extern const struct opt_desc SPOOL_OPTS;

void spool_metrics_init(void);				/* once, at start */
/* Opens a store. A failure is also kept: spool_start reports all of them together, as upstream does. Yields. */
int spool_define(const struct spool_opts *o);
/* From here on storing works. -E_NOENT: "No spools have been defined"; else the joined failures of spool_define. Yields. */
int spool_start(void) WARN_UNUSED;
bool spool_is_ready(void);
const char *spool_unhealthy_reason(void);		/* NULL: healthy. What 421/503 answers say. Cheap */
/* Whether deliveries go on while the spool is unhealthy (kumo.suspend_delivery_when_spool_unhealthy, default true). */
void spool_set_suspend_delivery(bool on);
const char *spool_delivery_suspension_reason(void);	/* NULL: deliver */

/* For msg_set_storage. */
extern const struct msg_storage SPOOL_STORAGE;

/* Direct access, for inspection and transfers. Yields. */
int spool_load(enum spool_which w, struct uuid id, struct buf *out) WARN_UNUSED;
int spool_remove(struct uuid id);			/* does not wait unless very many are pending */

/* Every message that was in the meta store before this process began. CB runs on the calling fiber, gets a reference, may wait; a
   negative return ends the walk. Entries whose envelope cannot be read are left where they are, reported, and counted in `damaged`. Yields. */
struct spool_walk {
	uint64_t found, damaged;
};
typedef int (*spool_walk_cb)(void *arg, struct msg *m);
int spool_enumerate(spool_walk_cb cb, void *arg, struct spool_walk *w) WARN_UNUSED;
/* Bodies older than this process without an envelope are removed; *REMOVED counts. Call after enumeration. Yields. */
int spool_sweep(uint64_t *removed) WARN_UNUSED;
void spool_sweep_in_background(void);			/* the same, reported in the diagnostic log; spool_fini ends it */

int spool_compact(void) WARN_UNUSED;			/* kcli spool-compact. Yields. */
int64_t spool_advise_low_memory(void);			/* bytes given back. Yields. */
/* Waits until everything submitted is written, then closes. Yields. */
void spool_fini(void);
