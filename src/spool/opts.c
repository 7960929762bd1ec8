/* SPDX-License-Identifier: Apache-2.0 */
/* The option table of kumo.define_spool (docs/reference/kumo/define_spool). */
#include <rocksdb/c.h>
#include "spool/spool.h"

static const struct opt_choice KINDS[] = { { "LocalDisk", SPOOL_LOCAL_DISK }, { "RocksDB", SPOOL_ROCKSDB }, { NULL, 0 } };
static const struct opt_choice COMPRESSIONS[] = { { "None", rocksdb_no_compression }, { "Snappy", rocksdb_snappy_compression },
	{ "Zlib", rocksdb_zlib_compression }, { "Bz2", rocksdb_bz2_compression }, { "Lz4", rocksdb_lz4_compression },
	{ "Lz4hc", rocksdb_lz4hc_compression }, { "Zstd", rocksdb_zstd_compression }, { NULL, 0 } };
static const struct opt_choice LEVELS[] = { { "Debug", 0 }, { "Info", 1 }, { "Warn", 2 }, { "Error", 3 }, { "Fatal", 4 }, { "Header", 5 }, { NULL, 0 } };

#define R struct spool_rocks_opts
static const struct opt_field ROCKS_FIELDS[] = {
	OPT_INT(R, increase_parallelism, NULL, "background threads for flush and compaction", .max = 1024),
	OPT_SIZE(R, optimize_level_style_compaction, NULL, "memory budget for level-style compaction"),
	OPT_SIZE(R, optimize_universal_style_compaction, NULL, "memory budget for universal-style compaction"),
	OPT_BOOL(R, paranoid_checks, "false", "more consistency checks at open and read"),
	OPT_ENUM(R, compression_type, COMPRESSIONS, "Snappy", "compression of blocks on disk"),
	OPT_SIZE(R, compaction_readahead_size, NULL, "bytes read ahead in compaction"),
	OPT_BOOL(R, level_compaction_dynamic_level_bytes, "false", "target sizes of levels follow the last level"),
	OPT_INT(R, max_open_files, NULL, "files kept open", .max = INT32_MAX),
	OPT_SIZE(R, write_buffer_size, NULL, "bytes buffered in memory before a file is written"),
	OPT_INT(R, level0_stop_writes_trigger, NULL, "files in level 0 at which writes stop", .max = INT32_MAX),
	OPT_ENUM(R, log_level, LEVELS, "Info", "of RocksDB's own LOG file"),
	OPT_SIZE(R, memtable_huge_page_size, NULL, "huge pages for write buffers"),
	OPT_DURATION(R, log_file_time_to_roll, "24h", "age at which the LOG file is rolled"),
	OPT_DURATION(R, obsolete_files_period, "6h", "how often obsolete files are deleted"),
	OPT_INT(R, limit_concurrent_stores, NULL, "accepted; writes are gathered into one batch at a time"),
	OPT_INT(R, limit_concurrent_loads, NULL, "loads that may run at the same time"),
	OPT_INT(R, limit_concurrent_removes, NULL, "accepted; removals are gathered into one batch at a time"),
	OPT_DURATION(R, store_deadline, "30s", "how long a write may wait"),
	OPT_DURATION(R, error_latch_duration, "15s", "how long errors must persist before traffic is refused"),
	OPT_DURATION(R, error_unlatch_duration, "5m", "how long it must be healthy before traffic is accepted again"),
	OPT_BOOL(R, allow_error_unlatch, "true", "whether traffic is accepted again without a restart"),
	OPT_END
};
static const struct opt_desc ROCKS = { "rocks_params", ROCKS_FIELDS, sizeof(R), .open = true };	/* upstream ignores what it does not know here */

#define S struct spool_opts
static const struct opt_field FIELDS[] = {
	OPT_STR(S, name, NULL, "\"data\" or \"meta\"", .required = true),
	OPT_STR(S, path, NULL, "the folder", .required = true),
	OPT_ENUM(S, kind, KINDS, "LocalDisk", "how it is stored"),
	OPT_BOOL(S, flush, "false", "whether each write survives loss of power"),
	OPT_SUB(S, rocks_params, &ROCKS, "tuning of RocksDB"),
	OPT_MIN_FREE(S, min_free_space, "free space below which no mail is accepted"),
	OPT_MIN_FREE(S, min_free_inodes, "free inodes below which no mail is accepted"),
	OPT_END
};
const struct opt_desc SPOOL_OPTS = { "define_spool", FIELDS, sizeof(S) };
