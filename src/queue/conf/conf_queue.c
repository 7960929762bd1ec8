/* SPDX-License-Identifier: Apache-2.0 */
/* conf_queue - options of kumo.make_queue_config (docs/reference/kumo/make_queue_config), and the retry schedule that follows from them. */
#include "queue/conf/config.h"

static const struct {
	const char *name, *log_name;
} PROTOS[PROTO_COUNT] = {
	[PROTO_SMTP] = { "smtp_client", "ESMTP" },
	[PROTO_MAILDIR] = { "maildir", "Maildir" },
	[PROTO_LUA] = { "lua", "Lua" },
	[PROTO_XFER] = { "xfer", "Xfer" },
	[PROTO_HTTP_GENERATOR] = { "httpinject", "HttpInjectionGenerator" },
	[PROTO_DEFERRED_SMTP] = { "defersmtpinject", "DeferredSmtpInjection" },
	[PROTO_NULL] = { "null", "Null" },
};

const char *queue_proto_name(enum queue_proto p) { return PROTOS[p].name; }
const char *queue_proto_log_name(enum queue_proto p) { return PROTOS[p].log_name; }

/* --- protocol --- */

struct maildir_opts {
	struct slice maildir_path;
	int64_t dir_mode, file_mode;
};
static const struct opt_field MAILDIR_FIELDS[] = {
	OPT_STR(struct maildir_opts, maildir_path, NULL, "template of the path", .required = true),
	OPT_INT(struct maildir_opts, dir_mode, "-1", "mode of created folders", .min = -1, .max = 07777),
	OPT_INT(struct maildir_opts, file_mode, "-1", "mode of files", .min = -1, .max = 07777),
	OPT_END
};
static const struct opt_desc MAILDIR_DESC = { .name = "maildir", .fields = MAILDIR_FIELDS, .size = sizeof(struct maildir_opts) };

struct lua_opts {
	struct slice constructor;
	int64_t batch_size, min_batch_size, max_batch_latency;
};
static const struct opt_field LUA_FIELDS[] = {
	OPT_STR(struct lua_opts, constructor, NULL, "name of the event that makes the connection object", .required = true),
	OPT_INT(struct lua_opts, batch_size, "1", "most messages handed to send_batch"),
	OPT_INT(struct lua_opts, min_batch_size, "1", "fewest messages to wait for"),
	OPT_DURATION(struct lua_opts, max_batch_latency, "0s", "longest wait for min_batch_size"),
	OPT_END
};
static const struct opt_desc LUA_DESC = { .name = "custom_lua", .fields = LUA_FIELDS, .size = sizeof(struct lua_opts) };

/* "[ip]:port", "ip:port" with ip literal or "ip": what an entry's addr may be. */
static int read_mx_entry(struct opt_ctx *c, const struct val *in, struct mx_list_entry *e)
{
	if (in->type == VAL_STR) {
		e->name = e->label = in->s;
		return 0;
	}
	struct slice name = val_get_str(in, SLICE("name")), addr = val_get_str(in, SLICE("addr"));
	const struct val *secure = val_get_lit(in, "is_secure");
	if (in->type != VAL_OBJ || !name.ptr || !addr.ptr)
		return opt_fail(c, in, "a host name, an address in brackets, or {name = …, addr = …}");
	if (netaddr_parse(addr, 0, &e->addr) < 0)
		return opt_fail(c, in, "an address (and port) as `addr`");
	if (secure && secure->type != VAL_BOOL)
		return opt_fail(c, secure, "true or false as `is_secure`");
	e->name = name;
	e->label = addr;
	e->resolved = true;
	e->secure = secure && secure->b;
	return 0;
}

struct smtp_opts {
	struct opt_list mx_list;	/* struct mx_list_entry */
	bool treat_mx_list_as_secure;
};

static int read_mx_list(struct opt_ctx *c, const struct val *in, void *out)
{
	struct opt_list *l = out;
	if (in->type != VAL_LIST && !(in->type == VAL_OBJ && in->n == 0))
		return opt_fail(c, in, "a list of hosts");
	l->n = in->type == VAL_LIST ? in->n : 0;
	struct mx_list_entry *e = arena_alloc(opt_arena(c), (l->n ? l->n : 1) * sizeof(*e));
	l->items = e;
	for (size_t i = 0; i < l->n; i++) {
		int rc = read_mx_entry(c, &in->items[i], &e[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static const struct opt_field SMTP_FIELDS[] = {
	OPT_CUSTOM(struct smtp_opts, mx_list, read_mx_list, NULL, "hosts to deliver to instead of those that MX lookup gives"),
	OPT_BOOL(struct smtp_opts, treat_mx_list_as_secure, "false", "DANE may trust the list"),
	OPT_END
};
static const struct opt_desc SMTP_DESC = { .name = "smtp", .fields = SMTP_FIELDS, .size = sizeof(struct smtp_opts), .open = true };

static int read_smtp(struct opt_ctx *c, const struct val *in, struct queue_protocol_opts *p)
{
	struct smtp_opts o = { 0 };
	int rc = opt_parse_struct(c, &SMTP_DESC, in, &o);
	p->kind = PROTO_SMTP;
	p->mx_list = o.mx_list.items;
	p->n_mx_list = o.mx_list.n;
	p->treat_mx_list_as_secure = o.treat_mx_list_as_secure;
	return rc;
}

static int read_lua(struct opt_ctx *c, const struct val *in, struct queue_protocol_opts *p)
{
	struct lua_opts o = { 0 };
	int rc = opt_parse_struct(c, &LUA_DESC, in, &o);
	p->kind = PROTO_LUA;
	p->constructor = o.constructor;
	p->batch_size = MAX(o.batch_size, 1);
	p->min_batch_size = MIN(MAX(o.min_batch_size, 1), p->batch_size);
	p->max_batch_latency = o.max_batch_latency;
	return rc;
}

static int read_maildir(struct opt_ctx *c, const struct val *in, struct queue_protocol_opts *p)
{
	struct maildir_opts o = { 0 };
	int rc = opt_parse_struct(c, &MAILDIR_DESC, in, &o);
	p->kind = PROTO_MAILDIR;
	p->maildir_path = o.maildir_path;
	p->dir_mode = o.dir_mode;
	p->file_mode = o.file_mode;
	return rc;
}

static int read_protocol(struct opt_ctx *c, const struct val *in, void *out)
{
	struct queue_protocol_opts *p = out;
	const struct val *sub;
	*p = (struct queue_protocol_opts){ .dir_mode = -1, .file_mode = -1, .batch_size = 1, .min_batch_size = 1 };
	if ((sub = val_get_lit(in, "smtp")))
		return read_smtp(c, sub, p);
	if ((sub = val_get_lit(in, "custom_lua")))
		return read_lua(c, sub, p);
	if (val_get_lit(in, "maildir_path"))
		return read_maildir(c, in, p);
	if ((sub = val_get_lit(in, "xfer")) && val_get_str(sub, SLICE("target")).ptr) {
		p->kind = PROTO_XFER;
		p->target = val_get_str(sub, SLICE("target"));
		return 0;
	}
	return opt_fail(c, in, "a delivery protocol: {smtp = {…}}, {maildir_path = …} or {custom_lua = {constructor = …}}");
}

static void print_mx_list(const struct queue_protocol_opts *p, struct arena *a, struct val *out)
{
	*out = val_list();
	for (size_t i = 0; i < p->n_mx_list; i++) {
		const struct mx_list_entry *e = &p->mx_list[i];
		struct val v = val_str(a, e->name);
		if (e->resolved) {
			v = val_obj();
			val_put_lit(a, &v, "name", val_str(a, e->name));
			val_put_lit(a, &v, "addr", val_str(a, e->label));
		}
		val_push(a, out, v);
	}
}

static void print_protocol(struct arena *a, const void *in, struct val *out)
{
	const struct queue_protocol_opts *p = in;
	struct val sub = val_obj(), list;
	*out = val_obj();
	switch (p->kind) {
	case PROTO_SMTP:
		print_mx_list(p, a, &list);
		val_put_lit(a, &sub, "mx_list", list);
		val_put_lit(a, &sub, "treat_mx_list_as_secure", val_bool(p->treat_mx_list_as_secure));
		val_put_lit(a, out, "smtp", sub);
		break;
	case PROTO_LUA:
		val_put_lit(a, &sub, "constructor", val_str(a, p->constructor));
		val_put_lit(a, &sub, "batch_size", val_int(p->batch_size));
		val_put_lit(a, &sub, "min_batch_size", val_int(p->min_batch_size));
		conf_print_duration(a, p->max_batch_latency, val_put_lit(a, &sub, "max_batch_latency", val_null()));
		val_put_lit(a, out, "custom_lua", sub);
		break;
	case PROTO_MAILDIR:
		val_put_lit(a, out, "maildir_path", val_str(a, p->maildir_path));
		val_put_lit(a, out, "dir_mode", p->dir_mode < 0 ? val_null() : val_int(p->dir_mode));
		val_put_lit(a, out, "file_mode", p->file_mode < 0 ? val_null() : val_int(p->file_mode));
		break;
	case PROTO_XFER:
		val_put_lit(a, &sub, "target", val_str(a, p->target));
		val_put_lit(a, out, "xfer", sub);
		break;
	default:
		*out = val_null();	/* reserved queues: nothing that a policy could have written */
	}
}

/* --- the table --- */

enum { STRATEGY_TIMER_WHEEL, STRATEGY_SKIP_LIST, STRATEGY_SINGLETON };
static const struct opt_choice STRATEGIES[] = { { "TimerWheel", STRATEGY_TIMER_WHEEL }, { "SkipList", STRATEGY_SKIP_LIST },
						{ "SingletonTimerWheel", STRATEGY_SINGLETON }, { "SingletonTimerWheelV2", STRATEGY_SINGLETON }, { NULL, 0 } };

static const struct opt_field SHRINK_FIELDS[] = {
	OPT_DURATION(struct shrink_entry, interval, NULL, "time until due from which the policy holds", .required = true),
	OPT_ENUM(struct shrink_entry, policy, CONF_SHRINK_CHOICES, NULL, "what leaves memory", .required = true),
	OPT_END
};
static const struct opt_desc SHRINK_DESC = { .name = "shrink_policy", .fields = SHRINK_FIELDS, .size = sizeof(struct shrink_entry) };

static const struct opt_field QUEUE_FIELDS[] = {
	OPT_DURATION(struct queue_opts, retry_interval, "20m", "wait after the first failed attempt; doubles with each"),
	OPT_DURATION(struct queue_opts, max_retry_interval, NULL, "longest wait between attempts", OPT_PRESENT(struct queue_opts, has_max_retry_interval)),
	OPT_DURATION(struct queue_opts, max_age, "7 days", "age at which a message expires"),
	OPT_STR(struct queue_opts, egress_pool, NULL, "pool of sources"),
	OPT_CUSTOM(struct queue_opts, max_message_rate, opt_read_rate, NULL, "rate at which messages become ready", .custom_print = opt_print_rate),
	OPT_CUSTOM(struct queue_opts, protocol, read_protocol, "{\"smtp\":{}}", "how messages are delivered", .custom_print = print_protocol),
	OPT_DURATION(struct queue_opts, reap_interval, "10m", "how long an empty queue is kept"),
	OPT_DURATION(struct queue_opts, refresh_interval, "1m", "how long the configuration holds"),
	OPT_DURATION(struct queue_opts, timerwheel_tick_interval, NULL, "accepted; due times here are exact", OPT_PRESENT(struct queue_opts, has_timerwheel_tick_interval)),
	OPT_ENUM(struct queue_opts, strategy, STRATEGIES, "SingletonTimerWheel", "accepted; there is one structure for all"),
	OPT_ENUM(struct queue_opts, refresh_strategy, CONF_REFRESH_CHOICES, "Ttl", "when the configuration is asked for again"),
	OPT_STR(struct queue_opts, provider_name, NULL, "provider that metrics are summed up by"),
	OPT_LIST(struct queue_opts, shrink_policy, &SHRINK_DESC, "what leaves memory while waiting"),
	OPT_END
};
const struct opt_desc CONF_QUEUE_DESC = { .name = "make_queue_config", .fields = QUEUE_FIELDS, .size = sizeof(struct queue_opts) };

void conf_queue_finish(struct queue_opts *q, struct arena *a)
{
	struct queue_protocol_opts *p = &q->protocol;
	const char *name = PROTOS[p->kind].name;
	struct buf b = { 0 };

	if (p->kind == PROTO_LUA)
		p->ready_name = arena_slicef(a, "%s:%.*s", name, SLICE_ARG(p->constructor));
	else if (p->kind == PROTO_MAILDIR)
		p->ready_name = arena_slicef(a, "%s:%.*s", name, SLICE_ARG(p->maildir_path));
	else if (p->kind == PROTO_HTTP_GENERATOR)
		p->ready_name = arena_slicef(a, "%s:generator", name);
	else
		p->ready_name = slice_from_cstr(name);
	if (p->n_mx_list == 0)
		return;
	buf_lit(&b, "mx_list:");
	for (size_t i = 0; i < p->n_mx_list; i++) {
		if (i)
			buf_putc(&b, ',');
		buf_slice(&b, p->mx_list[i].label);
	}
	p->mx_list_site = arena_dup(a, buf_view(&b));
	buf_fini(&b);
}

/* What no policy could write: the default options with a protocol of our own. Not interned. */
static struct conf *conf_of_proto(enum queue_proto p, struct slice target)
{
	struct conf *c = conf_default(CONF_QUEUE), *own;
	struct arena *a = arena_create();
	struct queue_opts *o = arena_alloc(a, sizeof(*o));

	own = arena_alloc(a, sizeof(*own));
	*own = *c;
	own->arena = a;
	own->key = arena_slicef(a, "reserved %s %.*s", PROTOS[p].name, SLICE_ARG(target));
	atomic_store(&own->refs, 1);
	*o = *queue_opts_of(c);
	o->protocol = (struct queue_protocol_opts){ .kind = p, .batch_size = 1, .min_batch_size = 1, .dir_mode = -1, .file_mode = -1,
						    .target = target.ptr ? arena_dup(a, target) : SLICE_NONE };
	if (p == PROTO_XFER)
		o->retry_interval = 10 * 1000000000LL;
	if (p == PROTO_HTTP_GENERATOR || p == PROTO_DEFERRED_SMTP) {
		o->retry_interval = 60 * 1000000000LL;
		o->max_retry_interval = 20 * 60 * 1000000000LL;
		o->has_max_retry_interval = true;
	}
	own->opts = o;
	conf_queue_finish(o, a);
	conf_unref(&c);
	return own;
}

struct conf *queue_conf_reserved(enum queue_proto p) { return conf_of_proto(p, SLICE_NONE); }
struct conf *queue_conf_xfer(struct slice target) { return conf_of_proto(PROTO_XFER, target); }

/* --- the retry schedule --- */

#define MAX_DELAY_S (100LL * 365 * 86400)

int64_t queue_opts_delay_s(const struct queue_opts *q, unsigned attempt)
{
	int64_t s = q->retry_interval / 1000000000, limit = q->has_max_retry_interval ? q->max_retry_interval / 1000000000 : MAX_DELAY_S;
	if (limit > MAX_DELAY_S)
		limit = MAX_DELAY_S;
	for (unsigned i = 0; i < attempt && s < limit && s > 0; i++)
		s *= 2;
	return MIN(s, limit);
}

unsigned queue_opts_infer_attempts(const struct queue_opts *q, int64_t age_s)
{
	int64_t elapsed = 0;
	unsigned n = 0;
	for (; n < UINT16_MAX; n++) {
		int64_t d = queue_opts_delay_s(q, n);
		if (d <= 0 || elapsed + d > age_s)	/* without an interval there is no schedule to infer from */
			break;
		elapsed += d;
	}
	return n;
}

int64_t queue_opts_delay_by_age_s(const struct queue_opts *q, unsigned attempts, int64_t age_s)
{
	int64_t max_age = q->max_age / 1000000000, total = 0;
	if (age_s >= max_age)
		return -1;
	for (unsigned i = 1; i < attempts && total < max_age; i++)
		total += queue_opts_delay_s(q, i);
	if (total >= max_age)
		return -1;
	return MAX(total - age_s, 0);
}
