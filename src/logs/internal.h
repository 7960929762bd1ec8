/* SPDX-License-Identifier: Apache-2.0 */
/* internal - loggers, and the record that is prepared once for all of them. */
#pragma once
#include "logs/logs.h"
#include "logs/sink.h"
#include "policy/host.h"
#include "rt/metrics.h"
#include "rt/sync.h"

/* What a record says, gathered from the event and its message. */
struct log_draft {
	const struct log_event *ev;
	struct arena *arena;
	struct msg_env *env;		/* NULL: none or not readable */
	struct msg_body *body;		/* NULL: not in memory */
	char id[33];
	struct slice sender, queue, reception_protocol, classification;
	const struct slice *recipients;
	uint32_t n_recipients;
	size_t size;
	uint16_t num_attempts;
	int64_t event_us, created_us;
	const struct val *meta;		/* all of it */
	const struct val *headers;	/* {name = value or list}, all of them; NULL: not read yet */
};
/* Fills D; what it points to lives until draft_end. Yields when the envelope must be loaded. */
void draft_begin(struct log_draft *d, const struct log_event *ev);
void draft_end(struct log_draft *d);
void draft_load_headers(struct log_draft *d);	/* Yields when the body must be loaded. */
/* The record as one JSON object, keys in upstream's order. META and HEADERS select. */
void draft_put_json(struct buf *b, const struct log_draft *d, const struct opt_list *meta, const struct opt_list *headers);
void draft_meta(const struct log_draft *d, const struct opt_list *meta, struct arena *a, struct val *out);

struct log_template;
int log_template_compile(struct slice name, struct slice source, struct log_template **out) WARN_UNUSED;
void log_template_free(struct log_template **t);
/* RECORD is the JSON object as a val; it is also known as `log_record`. */
int log_template_render(const struct log_template *t, const struct val *record, struct buf *out) WARN_UNUSED;

enum logger_kind { LOGGER_FILE, LOGGER_HOOK, LOGGER_DISPOSITION };
struct logger {
	struct logger *next;
	enum logger_kind kind;
	char *name;			/* "dir-/var/log/x", "hook-name" */
	char *hook_name, *event;	/* hooks; filter event or disposition event */
	struct arena *arena;		/* of the options */
	struct opt_list meta, headers;
	struct log_type_rule {
		bool enable;
		unsigned class_id;
		struct log_template *tmpl;	/* NULL: JSON */
	} types[LOG_TYPE_COUNT];
	struct sink *sink;
	bool deferred_spool;
	struct rt_sem permits;
	_Atomic int64_t running;	/* hook calls under way */
	struct metric *latency;
};

struct logger *logger_first(void);
/* The record's text for L: JSON or its template. -E_… when the template fails. */
int logger_put_text(const struct logger *l, const struct log_draft *d, struct buf *b) WARN_UNUSED;

void logger_count_full(const struct logger *l);
void logger_count_backlog(const struct logger *l);
void classifier_metrics_init(void);
void hook_submit(struct logger *l, const struct log_draft *d);		/* Yields. */
void disposition_call(struct logger *l, const struct log_draft *d);	/* Yields. */
bool hooks_wait(void);							/* until none is under way; false: some hang. Yields. */
extern const struct policy_event LOG_HOOK_EVENT;
void acct_log_fini(void);
