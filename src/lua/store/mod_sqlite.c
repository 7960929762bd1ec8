/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_sqlite - the module sqlite: connections whose queries run on the offload pool.
 *
 * Only the first statement of a query is run, as it always was. A statement with columns gives a list: of values when there is one column, of
 * objects otherwise (and one empty object when there are no rows, which existing policies know); any other gives the number of
 * rows that it changed.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include "lua/util.h"
#include "rt/offload.h"

struct conn {
	sqlite3 *db;		/* NULL: closed */
};

struct query {
	sqlite3 *db;
	struct slice sql;
	struct val params;	/* a list, or an object of names */
	bool sole;		/* one value that was no table */
	struct arena *arena;
	struct val rows;
	int64_t changed;
	bool has_columns;
	int rc;			/* 0, or a failure with its text below */
	char why[1024];
};

static void close_job(void *arg)
{
	sqlite3_close_v2(arg);
}

static void unref_conn(void *p)
{
	struct conn *c = p;
	if (c->db)
		rt_offload_post(close_job, c->db);
	free(c);
}

static const struct policy_obj_type CONN_OBJ = { .name = "SqliteConnection", .unref = unref_conn };

/* --- on the pool's thread -------------------------------------------------------------------------------------------- */

static void fail_sqlite(struct query *q)
{
	q->rc = -E_IO;
	snprintf(q->why, sizeof q->why, "%s (code %d)", sqlite3_errmsg(q->db), sqlite3_errcode(q->db));
}

static void fail_bind(struct query *q, const char *which, const struct val *v, const char *why)
{
	struct buf b = { 0 };
	json_put(&b, v, JSON_COMPACT);
	q->rc = -E_INVAL;
	snprintf(q->why, sizeof q->why, "bind parameters in query `%.*s': binding %s with value %.*s: %s", (int)MIN(q->sql.len, (size_t)400), q->sql.ptr, which,
		 (int)MIN(b.len, (size_t)100), b.ptr, why);
	buf_fini(&b);
}

static void bind_one(struct query *q, sqlite3_stmt *st, int index, const char *which, const struct val *v)
{
	int rc = SQLITE_OK;
	switch (v->type) {
	case VAL_NULL:
		rc = sqlite3_bind_null(st, index);
		break;
	case VAL_INT:
		rc = sqlite3_bind_int64(st, index, v->i);
		break;
	case VAL_FLOAT:
		rc = sqlite3_bind_double(st, index, v->f);
		break;
	case VAL_STR:
		rc = sqlite3_bind_text64(st, index, v->s.ptr ? v->s.ptr : "", v->s.len, SQLITE_STATIC, SQLITE_UTF8);
		break;
	default:
		fail_bind(q, which, v, "only numbers, strings and nil can be passed as parameter values");
		return;
	}
	if (rc != SQLITE_OK)
		fail_bind(q, which, v, sqlite3_errstr(rc));
}

static void bind_all(struct query *q, sqlite3_stmt *st)
{
	char which[256];
	for (uint32_t i = 0; i < q->params.n && q->rc == 0; i++) {
		if (q->params.type == VAL_LIST) {
			snprintf(which, sizeof which, "parameter %u", i + 1);
			bind_one(q, st, (int)i + 1, q->sole ? "sole parameter" : which, &q->params.items[i]);
			continue;
		}
		const struct val_member *m = &q->params.members[i];
		char name[200];
		snprintf(name, sizeof name, ":%.*s", SLICE_ARG(m->key));
		snprintf(which, sizeof which, "parameter %s", name);
		int index = sqlite3_bind_parameter_index(st, name);
		if (index) {
			bind_one(q, st, index, which, &m->val);
		} else {
			char why[256];
			snprintf(why, sizeof why, "the index is out of range (%s)", name);
			fail_bind(q, which, &m->val, why);
		}
	}
}

static struct val column(struct query *q, sqlite3_stmt *st, int i)
{
	switch (sqlite3_column_type(st, i)) {
	case SQLITE_INTEGER:
		return val_int(sqlite3_column_int64(st, i));
	case SQLITE_FLOAT:
		return val_float(sqlite3_column_double(st, i));
	case SQLITE_TEXT:
		return val_str(q->arena, slice_new(sqlite3_column_text(st, i), (size_t)sqlite3_column_bytes(st, i)));
	case SQLITE_BLOB:
		return val_str(q->arena, slice_new(sqlite3_column_blob(st, i), (size_t)sqlite3_column_bytes(st, i)));
	}
	return val_null();
}

static void add_row(struct query *q, sqlite3_stmt *st, int columns)
{
	if (columns == 1) {
		val_push(q->arena, &q->rows, column(q, st, 0));
		return;
	}
	struct val row = val_obj();
	for (int i = 0; i < columns; i++)
		val_put(q->arena, &row, slice_from_cstr(sqlite3_column_name(st, i)), column(q, st, i));
	val_push(q->arena, &q->rows, row);
}

static void run_query(void *arg)
{
	struct query *q = arg;
	sqlite3_stmt *st = NULL;
	if (sqlite3_prepare_v2(q->db, q->sql.ptr, (int)MIN(q->sql.len, (size_t)INT32_MAX), &st, NULL) != SQLITE_OK) {
		fail_sqlite(q);
		return;
	}
	bind_all(q, st);
	int columns = sqlite3_column_count(st), step = SQLITE_DONE;
	q->has_columns = columns > 0;
	q->rows = val_list();
	while (q->rc == 0 && (step = sqlite3_step(st)) == SQLITE_ROW)
		add_row(q, st, columns);
	if (q->rc == 0 && step != SQLITE_DONE)
		fail_sqlite(q);
	if (columns > 1 && q->rows.n == 0)
		val_push(q->arena, &q->rows, val_obj());
	q->changed = sqlite3_changes64(q->db);
	sqlite3_finalize(st);
}

struct open_job {
	const char *path;
	int busy_ms;
	sqlite3 *db;
	char why[512];
};

static void open_job(void *arg)
{
	struct open_job *j = arg;
	if (sqlite3_open_v2(j->path, &j->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL) == SQLITE_OK) {
		sqlite3_busy_timeout(j->db, j->busy_ms);
		return;
	}
	snprintf(j->why, sizeof j->why, "opening sqlite database %s: %s (code %d)", j->path, sqlite3_errmsg(j->db), sqlite3_errcode(j->db));
	sqlite3_close_v2(j->db);
	j->db = NULL;
}

/* --- on the fiber ----------------------------------------------------------------------------------------------------- */

/* What stands behind the query's text: one table (a list or names), or values by position. */
static void read_params(lua_State *L, struct query *q)
{
	int n = lua_gettop(L) - 2;
	if (n == 1 && lua_istable(L, 3)) {
		if (policy_to_val(L, 3, q->arena, &q->params) < 0)
			policy_raise(L, -E_INVAL);
		return;
	}
	q->params = val_list();
	q->sole = n == 1;
	for (int i = 0; i < n; i++) {
		struct val v;
		if (policy_to_val(L, i + 3, q->arena, &v) < 0)
			policy_raise(L, -E_INVAL);
		val_push(q->arena, &q->params, v);
	}
}

static int conn_execute(lua_State *L)
{
	struct conn *c = policy_obj_check(L, 1, &CONN_OBJ);
	struct query q = { .sql = policy_check_text(L, 2), .arena = policy_arena(L) };
	read_params(L, &q);
	if (!c->db)
		return policy_raisef(L, "connection was closed");
	q.db = c->db;
	rt_offload(run_query, &q);
	if (q.rc < 0)
		return policy_raisef(L, "%s", q.why);
	if (q.has_columns)
		policy_push_val(L, &q.rows);
	else
		lua_pushinteger(L, q.changed);
	return 1;
}

static int conn_close(lua_State *L)
{
	struct conn *c = policy_obj_check(L, 1, &CONN_OBJ);
	sqlite3 *db = c->db;
	c->db = NULL;
	if (db)
		rt_offload(close_job, db);
	return 0;
}

static int fn_open(lua_State *L)
{
	struct slice path = policy_check_text(L, 1);
	int64_t busy_ms = lua_isnoneornil(L, 2) ? 500 : policy_check_int(L, 2, "usize", 0, INT32_MAX);
	struct open_job j = { .path = arena_strdup(policy_arena(L), path), .busy_ms = (int)busy_ms };
	rt_offload(open_job, &j);
	if (!j.db)
		return policy_raisef(L, "%s", j.why);
	struct conn *c = xzalloc(sizeof *c);
	c->db = j.db;
	policy_obj_push(L, &CONN_OBJ, c);
	return 1;
}

static const luaL_Reg METHODS[] = { { "execute", conn_execute }, { "close", conn_close }, { "__close", conn_close }, { NULL, NULL } };
static const luaL_Reg FUNCTIONS[] = { { "open", fn_open }, { NULL, NULL } };
const struct policy_module mod_sqlite = { "sqlite", FUNCTIONS, NULL };

void mod_sqlite_register(void)
{
	policy_obj_methods(&CONN_OBJ, METHODS);
}
