/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msg - a message: an identity, an immutable body, and an envelope with metadata.
 *
 * A handle is small (it is what a queue of a million waits with): body and envelope leave memory when the message is only waiting and come back
 * from the spool when somebody asks. Both parts are immutable and reference-counted; a change makes a new one and swaps it in, so a
 * reader that holds a part is never disturbed, and Lua may keep a handle while delivery runs.
 *
 * Thread:  any; the swap is under the message's lock, for some instructions.
 * Memory:  msg_ref/unref; parts: msg_body_ref/unref, msg_env_ref/unref. A part in memory counts in the process-wide budget (msg_budget_*).
 * Yields:  where it says so: when a part must be loaded from the spool.
 */
#pragma once
#include "base/list.h"
#include "base/uuid.h"
#include "codec/val.h"

/* The body: header and text, as received (CRLF line ends). */
struct msg_body {
	_Atomic uint32_t refs;
	size_t len;
	char *data;
};
struct msg_body *msg_body_take(char *data, size_t len);		/* takes a malloc'd block over */
struct msg_body *msg_body_copy(struct slice data);
struct msg_body *msg_body_ref(struct msg_body *b);
void msg_body_unref(struct msg_body **b);
static inline struct slice msg_body_view(const struct msg_body *b) { return (struct slice){ b->data, b->len }; }

/* When a message may be delivered (docs: message:set_scheduling). Absent parts are zero. */
struct msg_schedule {
	bool present;
	bool has_first_attempt, has_restriction, has_expires;
	int64_t first_attempt_us;	/* UTC */
	int32_t first_attempt_off_s, expires_off_s;	/* as written: printed in the same offset */
	uint8_t days;			/* bit 0 Monday … bit 6 Sunday */
	int32_t start_s, end_s;		/* seconds of the day */
	char tz[64];
	int64_t expires_us;
};

/* The envelope and metadata: what the meta spool holds. */
struct msg_env {
	_Atomic uint32_t refs;
	struct arena *arena;
	struct slice sender;			/* "" is the null sender */
	uint32_t n_recipients;
	struct slice *recipients;
	struct val meta;			/* an object */
	struct msg_schedule schedule;
};
struct msg_env *msg_env_create(struct slice sender, const struct slice *recipients, uint32_t n);	/* meta {} ; refs 1: fill before sharing */
struct msg_env *msg_env_clone(const struct msg_env *e);
struct msg_env *msg_env_ref(struct msg_env *e);
void msg_env_unref(struct msg_env **e);
/* The JSON of the meta spool: {"sender":…,"recipient":… or […],"meta":{…},"schedule":…} in upstream's form. */
void msg_env_put_json(struct buf *b, const struct msg_env *e);
int msg_env_parse_json(struct slice json, struct msg_env **out) WARN_UNUSED;

struct msg;
enum msg_flags {
	MSG_META_DIRTY = 1,	/* the spool's copy is older (or there is none) */
	MSG_DATA_DIRTY = 2,
	MSG_FORCE_SYNC = 4,
	MSG_SPOOLED = 8,	/* the spool knows it: remove it in the end */
	MSG_SCHEDULED = 16,	/* the envelope has a schedule */
	MSG_REMOVED = 32,	/* done with: never stored again */
};

struct msg *msg_create(struct uuid id, struct msg_env *env, struct msg_body *body);	/* takes the parts over; both dirty */
struct msg *msg_from_spool(struct uuid id, struct msg_env *env);			/* env may be NULL; nothing dirty */
struct msg *msg_ref(struct msg *m);
void msg_unref(struct msg **m);
struct uuid msg_id(const struct msg *m);
int64_t msg_created_us(const struct msg *m);		/* from the id */

/* Parts, loaded when absent. A reference for the caller. Yields. */
int msg_env(struct msg *m, struct msg_env **out) WARN_UNUSED;
int msg_body(struct msg *m, struct msg_body **out) WARN_UNUSED;
struct msg_env *msg_env_if_loaded(struct msg *m);	/* a reference too; NULL when it is not in memory */
struct msg_body *msg_body_if_loaded(struct msg *m);
void msg_set_env(struct msg *m, struct msg_env *env);	/* takes it over; marks dirty */
void msg_set_body(struct msg *m, struct msg_body *body);

/* Convenience over the above. Yields when the envelope must be loaded. */
int msg_meta_get(struct msg *m, struct slice key, struct arena *a, struct val *out) WARN_UNUSED;	/* null when missing; copied */
int msg_meta_set(struct msg *m, struct slice key, const struct val *v) WARN_UNUSED;
/* The queue's name: meta "queue", else [campaign:][tenant@]domain[!routing_domain], as docs/reference/queues says. */
int msg_queue_name(struct msg *m, struct buf *out) WARN_UNUSED;
int msg_set_schedule(struct msg *m, const struct msg_schedule *s) WARN_UNUSED;	/* NULL or !present clears */
int msg_schedule_get(struct msg *m, struct msg_schedule *out) WARN_UNUSED;
/* The table of message:set_scheduling and of the meta spool's "schedule", both ways. */
int msg_schedule_parse(const struct val *v, struct msg_schedule *out) WARN_UNUSED;
void msg_schedule_print(const struct msg_schedule *s, struct arena *a, struct val *out);
void msg_schedule_put_json(struct buf *b, const struct msg_schedule *s);

uint16_t msg_num_attempts(const struct msg *m);
void msg_set_num_attempts(struct msg *m, uint16_t n);
int64_t msg_due_us(const struct msg *m);		/* 0: now */
void msg_set_due_us(struct msg *m, int64_t us);
/* US moved forward to when the schedule allows (tz database). */
int64_t msg_schedule_adjust(const struct msg_schedule *s, int64_t us);
/* Sets due to US (0: now), moved forward as the message's schedule demands. Yields when it has one and the envelope must be loaded. */
int msg_set_due_scheduled(struct msg *m, int64_t us) WARN_UNUSED;

unsigned msg_flags(const struct msg *m);
void msg_flags_set(struct msg *m, unsigned set, unsigned clear);
/* Stores what is dirty. Yields. */
int msg_save(struct msg *m) WARN_UNUSED;
/* The message has ended: the spool forgets it (if it knew it), and later saves do nothing. Rarely waits. */
int msg_remove(struct msg *m);
/* Saves what is dirty, then drops the parts from memory. Yields. */
int msg_shrink_data(struct msg *m) WARN_UNUSED;
int msg_shrink(struct msg *m) WARN_UNUSED;

/* One link for the queue that holds the message (a message is in one queue at a time), and its due time there. */
struct msg_link {
	struct list node;
	int64_t due_ms;
};
struct msg_link *msg_link(struct msg *m);
struct msg *msg_from_link(struct msg_link *l);

/* The spool, seen from here: filled in by the program. All yield. */
struct msg_storage {
	int (*load_env)(struct uuid id, struct msg_env **out);
	int (*load_body)(struct uuid id, struct msg_body **out);
	/* ENV or BODY may be NULL: not dirty. Body is durable before env. DEADLINE_MS 0: the spool's own. */
	int (*store)(struct uuid id, const struct msg_env *env, const struct msg_body *body, bool force_sync);
	int (*remove)(struct uuid id);
};
void msg_set_storage(const struct msg_storage *s);
void msg_metrics_init(void);				/* once, at start: message_count and its kin */

/* Bytes of bodies and envelopes in memory, all messages together. */
int64_t msg_bytes_in_memory(void);
int64_t msg_count_in_memory(void);
