/* SPDX-License-Identifier: Apache-2.0 */
#include "logs/accounting.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/err.h"
#include "base/timefmt.h"
#include "base/xalloc.h"
#include "policy/host.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/offload.h"
#include "rt/sync.h"

#define FLUSH_MS (5 * 60 * 1000)
#define BUSY_MS 30000

static _Atomic uint64_t received, delivered;
static _Atomic bool started;
static struct rt_lock path_lock = RT_LOCK_INIT(RANK_LEAF);
static char *path;
static struct rt_fiber *flusher;

void accounting_set_path(struct slice p)
{
	rt_lock(&path_lock);
	free(path);
	path = xmemdup0(p.ptr, p.len);
	rt_unlock(&path_lock);
}

struct row {
	char *path;
	char month[32];
	uint64_t received, delivered;
	int rc;
	char text[512];
};

static int run(sqlite3 *db, const struct row *r)
{
	static const char CREATE[] = "CREATE TABLE IF NOT EXISTS accounting (event_time DATETIME NOT NULL PRIMARY KEY, "
				     "received int NOT NULL, delivered int NOT NULL)";
	static const char ADD[] = "INSERT INTO accounting (event_time, received, delivered) VALUES (?1, ?2, ?3) "
				  "ON CONFLICT (event_time) DO UPDATE SET received = received + ?2, delivered = delivered + ?3";
	sqlite3_stmt *st;
	int rc = sqlite3_exec(db, CREATE, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(db, ADD, -1, &st, NULL);
	if (rc != SQLITE_OK)
		return rc;
	sqlite3_bind_text(st, 1, r->month, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)r->received);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)r->delivered);
	rc = sqlite3_step(st);
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void store(void *arg)
{
	struct row *r = arg;
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(r->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_busy_timeout(db, BUSY_MS);
		rc = run(db, r);
	}
	r->rc = rc == SQLITE_OK ? 0 : -E_IO;
	if (rc != SQLITE_OK)
		snprintf(r->text, sizeof r->text, "accounting database %s: %s", r->path, db ? sqlite3_errmsg(db) : "out of memory");
	sqlite3_close(db);
}

static void name_month(struct row *r)
{
	struct time_parts t;
	time_split(rt_wall_us(), 0, &t);
	snprintf(r->month, sizeof r->month, "%04d-%02d-01 00:00:00", t.year, t.month);
}

int accounting_flush(void)
{
	struct row r = { .received = atomic_exchange(&received, 0), .delivered = atomic_exchange(&delivered, 0) };
	if (r.received + r.delivered == 0 || policy_is_validating())
		return 0;
	rt_lock(&path_lock);
	r.path = xstrdup(path ? path : "/var/spool/kumomta/accounting.db");
	rt_unlock(&path_lock);
	name_month(&r);
	rt_offload(store, &r);
	free(r.path);
	if (r.rc < 0) {
		atomic_fetch_add(&received, r.received);
		atomic_fetch_add(&delivered, r.delivered);
		return err_set(E_IO, "failed to record %llu receptions and %llu deliveries: %s", (unsigned long long)r.received,
		    (unsigned long long)r.delivered, r.text);
	}
	return 0;
}

static void flush_often(void *arg)
{
	while (rt_sleep_ms(FLUSH_MS) == 0)
		if (accounting_flush() < 0)
			diag_error("kumo.logs", "%s; trying again later", err_text());
}

static void count(_Atomic uint64_t *what, uint64_t n)
{
	atomic_fetch_add_explicit(what, n, memory_order_relaxed);
	if (!atomic_load_explicit(&started, memory_order_relaxed) && !atomic_exchange(&started, true))
		flusher = rt_fiber_start("accounting", flush_often, NULL);
}

void accounting_received(uint64_t n)
{
	count(&received, n);
}

void accounting_delivered(uint64_t n)
{
	count(&delivered, n);
}

void accounting_fini(void)
{
	if (atomic_exchange(&started, false)) {
		rt_fiber_cancel(flusher);
		rt_fiber_join(flusher);
		rt_fiber_unref(&flusher);
	}
	if (accounting_flush() < 0)
		diag_error("kumo.logs", "%s", err_text());
	rt_lock(&path_lock);
	free(path);
	path = NULL;
	rt_unlock(&path_lock);
}
