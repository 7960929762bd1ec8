/* SPDX-License-Identifier: Apache-2.0 */
#include "logs/sink.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/xalloc.h"
#include "logs/segment.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/offload.h"
#include "rt/sync.h"

#define WAKE_BYTES 65536	/* the fiber is woken for so much; less waits for COALESCE_MS */
#define COALESCE_MS 50
#define IDLE_FLUSH_MS 1000	/* a tailer sees a record after that at the latest */
#define RETRY_MS 1000
#define LAST_TRIES 5		/* to a failing disk, at the end */

struct stream {			/* a place: at most one open segment */
	char *dir, *suffix;
	struct segment *seg;
	int64_t opened_ms;
	bool unflushed;
};
struct line_class {
	unsigned stream;
	char *header;
	size_t header_len;
};
struct line {			/* precedes the text in the buffer */
	uint32_t class_id, len;
};

struct sink {
	struct sink_opts opts;
	char *prefix;
	/* immutable after start */
	struct line_class *classes;
	unsigned n_classes, n_streams;
	struct stream *streams;			/* owned by the writing job */
	struct rt_fiber *fiber;
	_Atomic bool failing;
	/* under lock */
	struct rt_lock lock;
	struct rt_cond work, room;
	struct buf pending;
	uint64_t n_pending;			/* in `pending` and in the job's hands */
	bool asleep, stop;
	/* owned by the fiber and its job */
	struct buf taken;
	size_t done;				/* bytes of `taken` that are in segments */
	uint64_t n_done;
	bool stopping, flush_idle;
	int rc;
	char error[512];
};

struct sink *sink_create(const struct sink_opts *o)
{
	struct sink *s = xzalloc(sizeof *s);
	s->opts = *o;
	s->prefix = xstrdup(o->prefix);
	rt_lock_init(&s->lock, RANK_LOG);
	rt_cond_init(&s->work);
	rt_cond_init(&s->room);
	return s;
}

unsigned sink_class(struct sink *s, const char *dir, const char *suffix, struct slice header)
{
	unsigned st = 0;
	while (st < s->n_streams && (strcmp(s->streams[st].dir, dir) != 0 || strcmp(s->streams[st].suffix, suffix) != 0))
		st++;
	if (st == s->n_streams) {
		s->streams = xreallocarray(s->streams, ++s->n_streams, sizeof *s->streams);
		s->streams[st] = (struct stream){ .dir = xstrdup(dir), .suffix = xstrdup(suffix) };
	}
	s->classes = xreallocarray(s->classes, s->n_classes + 1, sizeof *s->classes);
	s->classes[s->n_classes] = (struct line_class){ st, xmemdup0(header.ptr, header.len), header.len };
	return s->n_classes++;
}

/* --- the job, on a pool thread */

static int finish_stream(struct sink *s, struct stream *st)
{
	if (st->seg == NULL)
		return 0;
	st->unflushed = false;
	return segment_finish(&st->seg);
}

static int put_line(struct sink *s, const struct line *l, const char *text)
{
	const struct line_class *c = &s->classes[l->class_id];
	struct stream *st = &s->streams[c->stream];
	int64_t now = rt_now_us_exact() / 1000;
	int rc = 0;
	if (st->seg != NULL && ((s->opts.max_bytes && segment_bytes(st->seg) >= s->opts.max_bytes) ||
	    (s->opts.max_ms && now - st->opened_ms >= s->opts.max_ms)))
		rc = finish_stream(s, st);
	if (rc == 0 && st->seg == NULL) {
		rc = segment_open(st->dir, s->prefix, st->suffix, s->opts.level, 0, &st->seg);
		st->opened_ms = now;
		if (rc == 0)
			segment_put(st->seg, slice_new(c->header, c->header_len));
	}
	if (rc < 0)
		return rc;
	segment_put(st->seg, slice_new(text, l->len));
	st->unflushed = true;
	return 0;
}

static int expire_and_flush(struct sink *s)
{
	int64_t now = rt_now_us_exact() / 1000;
	int rc = 0;
	for (unsigned i = 0; i < s->n_streams; i++) {
		struct stream *st = &s->streams[i];
		int one = 0;
		if (st->seg == NULL)
			continue;
		if (s->stopping || (s->opts.max_ms && now - st->opened_ms >= s->opts.max_ms) ||
		    (s->opts.max_bytes && segment_bytes(st->seg) >= s->opts.max_bytes)) {
			one = finish_stream(s, st);
		} else if (s->flush_idle && st->unflushed) {
			st->unflushed = false;
			one = segment_flush(st->seg);
		} else {
			one = segment_drain(st->seg);
		}
		if (one < 0)
			rc = one;
	}
	return rc;
}

/* Lines go into memory only while the disk takes what came before: the bound is the buffer's. */
static int drain_all(struct sink *s)
{
	int rc = 0;
	for (unsigned i = 0; rc == 0 && i < s->n_streams; i++)
		if (s->streams[i].seg != NULL)
			rc = segment_drain(s->streams[i].seg);
	return rc;
}

static void write_job(void *arg)
{
	struct sink *s = arg;
	int rc = drain_all(s);
	while (rc == 0 && s->done < s->taken.len) {
		struct line l;
		memcpy(&l, s->taken.ptr + s->done, sizeof l);
		rc = put_line(s, &l, s->taken.ptr + s->done + sizeof l);
		if (rc == 0) {
			s->done += sizeof l + l.len;
			s->n_done++;
			if (s->n_done % 1024 == 0)
				rc = drain_all(s);
		}
	}
	int end = expire_and_flush(s);
	s->rc = rc < 0 ? rc : end;
	if (s->rc < 0)
		snprintf(s->error, sizeof s->error, "%s", err_text());
}

/* --- the fiber */

static int64_t next_expiry_ms(const struct sink *s)
{
	int64_t now = rt_now_us_exact() / 1000, left = INT64_MAX;
	for (unsigned i = 0; i < s->n_streams; i++) {
		const struct stream *st = &s->streams[i];
		if (st->seg == NULL)
			continue;
		if (s->opts.max_ms)
			left = MIN(left, MAX(1, st->opened_ms + s->opts.max_ms - now));
		if (st->unflushed)
			left = MIN(left, IDLE_FLUSH_MS);
	}
	return left;
}

/* Lock held: until there is work. A little work first waits for more. */
static void wait_for_work(struct sink *s)
{
	s->flush_idle = false;
	while (!s->stop && s->pending.len == 0) {
		int64_t left = next_expiry_ms(s);
		s->asleep = true;
		int rc = rt_cond_wait(&s->work, &s->lock, left);
		s->asleep = false;
		if (rc == -E_TIMEOUT) {
			s->flush_idle = true;
			return;
		}
		if (rc < 0)
			s->stop = true;
	}
	if (!s->stop && s->pending.len < WAKE_BYTES && s->n_pending < s->opts.back_pressure / 2 &&
	    rt_cond_wait(&s->work, &s->lock, COALESCE_MS) == -E_CANCELED)
		s->stop = true;
}

static void report(struct sink *s)
{
	bool now = s->rc < 0;
	if (now != atomic_exchange(&s->failing, now))
		diag_error("kumo.logs", "%s", now ? s->error : "logs can be written again");
}

static void sink_main(void *arg)
{
	struct sink *s = arg;
	struct rt_shield shield;
	int tries = 0;
	rt_lock(&s->lock);
	for (;;) {
		if (s->done == s->taken.len) {
			if (s->rc == 0)
				wait_for_work(s);
			buf_clear(&s->taken);
			s->done = 0;
			struct buf empty = s->taken;
			s->taken = s->pending;
			s->pending = empty;
		}
		bool stop = s->stopping = s->stop;
		s->n_done = 0;
		rt_unlock(&s->lock);
		rt_shield_enter(&shield);
		rt_offload(write_job, s);
		report(s);
		if (s->rc < 0 && rt_sleep_ms(RETRY_MS) < 0)
			tries = LAST_TRIES;
		rt_shield_leave(&shield);
		rt_lock(&s->lock);
		s->n_pending -= s->n_done;
		if (s->n_done > 0)
			rt_cond_broadcast(&s->room);
		if (stop && ((s->rc == 0 && s->pending.len == 0) || (s->rc < 0 && ++tries >= LAST_TRIES)))
			break;
	}
	if (s->n_pending > 0)
		diag_error("kumo.logs", "%llu log records are lost: %s", (unsigned long long)s->n_pending, s->error);
	rt_unlock(&s->lock);
}

void sink_start(struct sink *s)
{
	s->fiber = rt_fiber_start("log file", sink_main, s);
}

int sink_write(struct sink *s, unsigned class_id, struct slice text, bool may_refuse, bool *waited)
{
	assert(class_id < s->n_classes);
	if (may_refuse && sink_is_failing(s))
		return err_set(E_FULL, "the log is not accepting records");
	bool has_lf = text.len > 0 && text.ptr[text.len - 1] == '\n';
	struct line l = { class_id, (uint32_t)(text.len + !has_lf) };
	char *copy = NULL;
	rt_lock(&s->lock);
	if (waited)
		*waited = s->n_pending >= s->opts.back_pressure;
	if (s->n_pending >= s->opts.back_pressure)	/* the caller's buffer is often its thread's: others use it while this one waits */
		text.ptr = copy = xmemdup0(text.ptr, text.len);
	while (s->n_pending >= s->opts.back_pressure && !s->stop) {
		rt_cond_signal(&s->work);
		int rc = rt_cond_wait(&s->room, &s->lock, INT64_MAX);
		if (rc < 0 && may_refuse) {
			rt_unlock(&s->lock);
			free(copy);
			return rc;
		}
		if (rc < 0)	/* told to end, and what has happened has happened: one record over the bound */
			break;
	}
	size_t before = s->pending.len;
	buf_put(&s->pending, &l, sizeof l);
	buf_slice(&s->pending, text);
	if (!has_lf)
		buf_putc(&s->pending, '\n');
	s->n_pending++;
	if (s->asleep || (before < WAKE_BYTES && s->pending.len >= WAKE_BYTES))
		rt_cond_signal(&s->work);
	rt_unlock(&s->lock);
	free(copy);
	return 0;
}

bool sink_is_failing(const struct sink *s)
{
	return atomic_load_explicit(&s->failing, memory_order_relaxed);
}

void sink_destroy(struct sink **sp)
{
	struct sink *s = *sp;
	*sp = NULL;
	if (s->fiber != NULL) {
		rt_lock(&s->lock);
		s->stop = true;
		rt_cond_signal(&s->work);
		rt_unlock(&s->lock);
		rt_fiber_join(s->fiber);
		rt_fiber_unref(&s->fiber);
	}
	for (unsigned i = 0; i < s->n_streams; i++) {
		if (s->streams[i].seg != NULL)
			segment_abandon(&s->streams[i].seg);
		free(s->streams[i].dir);
		free(s->streams[i].suffix);
	}
	for (unsigned i = 0; i < s->n_classes; i++)
		free(s->classes[i].header);
	free(s->streams);
	free(s->classes);
	buf_fini(&s->pending);
	buf_fini(&s->taken);
	rt_lock_fini(&s->lock);
	free(s->prefix);
	free(s);
}
