/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may send what to whom: relay_hosts of the listener, else what get_listener_domain says of the sender's domain (relay_from) and of the
 * recipient's (relay_to, log_oob, log_arf).
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/timefmt.h"
#include "base/xalloc.h"
#include "smtp/server/watch.h"

#define DOMAINS_MAX 256	/* answers kept for a session */

struct listener_domain {
	_Atomic uint32_t refs;
	struct arena *arena;
	bool relay_to;
	int log_oob, log_arf;
	struct opt_list relay_from;	/* of struct cidr */
	int64_t ttl;			/* ns */
};

static void *obj_ref(void *o)
{
	atomic_fetch_add_explicit(&((struct listener_domain *)o)->refs, 1, memory_order_relaxed);
	return o;
}
static void obj_unref(void *o) { struct listener_domain *d = o; listener_domain_unref(&d); }

static const char *const HANDLING_NAMES[] = { [REPORT_IGNORE] = "Ignore", [REPORT_LOG_THEN_RELAY] = "LogThenRelay", [REPORT_LOG_THEN_DROP] = "LogThenDrop" };

/* What a policy sees of it: the options, all of them. */
static int obj_to_val(void *o, struct arena *a, struct val *out)
{
	const struct listener_domain *d = o;
	const struct cidr *nets = d->relay_from.items;
	struct val from = val_list();
	struct buf b = { 0 };

	for (size_t i = 0; i < d->relay_from.n; i++) {
		buf_clear(&b);
		cidr_put(&b, &nets[i]);
		val_push(a, &from, val_str(a, buf_view(&b)));
	}
	buf_clear(&b);
	duration_put(&b, d->ttl);
	*out = val_obj();
	val_put_lit(a, out, "log_oob", val_cstr(a, HANDLING_NAMES[d->log_oob]));
	val_put_lit(a, out, "log_arf", val_cstr(a, HANDLING_NAMES[d->log_arf]));
	val_put_lit(a, out, "relay_to", val_bool(d->relay_to));
	val_put_lit(a, out, "relay_from", from);
	val_put_lit(a, out, "ttl", val_str(a, buf_view(&b)));
	buf_fini(&b);
	return 0;
}

const struct policy_obj_type LISTENER_DOMAIN_OBJ = { .name = "EsmtpDomain", .ref = obj_ref, .unref = obj_unref, .to_val = obj_to_val, .to_val_index = true };

/* true and false are older spellings. */
static int read_handling(struct opt_ctx *c, const struct val *in, void *out)
{
	if (in->type == VAL_BOOL) {
		*(int *)out = in->b ? REPORT_LOG_THEN_RELAY : REPORT_IGNORE;
		return 0;
	}
	for (size_t i = 0; in->type == VAL_STR && i < ARRAY_LEN(HANDLING_NAMES); i++)
		if (slice_eq_cstr(in->s, HANDLING_NAMES[i])) {
			*(int *)out = (int)i;
			return 0;
		}
	if (in->type != VAL_STR)
		return opt_fail_type(c, in, "a boolean value or one of 'Ignore', 'LogThenDrop' or 'LogThenRelay'");
	return opt_fail(c, in, "a boolean value or one of 'Ignore', 'LogThenDrop' or 'LogThenRelay'");
}

static const struct opt_field FIELDS[] = {
	OPT_CUSTOM(struct listener_domain, log_oob, read_handling, NULL, "what becomes of out-of-band bounces (RFC 3464)"),
	OPT_CUSTOM(struct listener_domain, log_arf, read_handling, NULL, "what becomes of feedback reports (RFC 5965)"),
	OPT_BOOL(struct listener_domain, relay_to, "false", "mail to this domain is relayed, whoever sends it"),
	OPT_CUSTOM(struct listener_domain, relay_from, smtp_read_cidr_list, NULL, "clients that may send as this domain"),
	OPT_DURATION(struct listener_domain, ttl, "60s", "how long the answer may be kept; ours is kept for the transaction"),
	OPT_END
};
static const struct opt_desc DOMAIN_OPTS = { "make_listener_domain", FIELDS, sizeof(struct listener_domain) };

int listener_domain_parse(const struct val *opts, struct listener_domain **out)
{
	struct arena *a = arena_create();
	struct listener_domain *d = xzalloc(sizeof *d);
	int rc = opt_parse(&DOMAIN_OPTS, opts, a, d);
	if (rc < 0) {
		arena_destroy(&a);
		free(d);
		return rc;
	}
	d->refs = 1;
	d->arena = a;
	*out = d;
	return 0;
}

void listener_domain_unref(struct listener_domain **d)
{
	struct listener_domain *x = *d;
	*d = NULL;
	if (x == NULL || atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
		return;
	arena_destroy(&x->arena);
	free(x);
}

static void take_answer(struct smtp_session *s, struct domain_answer *answer, const struct listener_domain *d)
{
	const struct cidr *nets = d->relay_from.items;
	answer->found = true;
	answer->verdict = (struct relay_verdict){ d->relay_to, (enum report_handling)d->log_oob, (enum report_handling)d->log_arf };
	for (size_t i = 0; i < d->relay_from.n; i++)
		answer->relay_from_peer |= cidr_has(&nets[i], &s->peer.ip);
}

static void watch_answer(struct smtp_session *s, const struct domain_answer *answer, int rc)
{
	if (!trace_on(TRACE_SMTP_SERVER))
		return;
	struct buf name = { 0 };
	buf_printf(&name, "get_listener_domain domain=%.*s", SLICE_ARG(answer->domain));
	watch_callback(s, buf_cstr(&name), rc, err_text(), NULL);
	buf_fini(&name);
}

static int ask_policy(struct smtp_session *s, struct domain_answer *answer)
{
	struct policy_call c;
	char via[128];
	if (!policy_event_wanted(&EV_GET_LISTENER_DOMAIN)) {
		watch_answer(s, answer, 0);
		return 0;
	}
	int rc = policy_call_begin(&c, &EV_GET_LISTENER_DOMAIN);
	if (rc < 0)
		return rc;
	policy_push_slice(c.L, answer->domain);
	lua_pushstring(c.L, netaddr_text(&s->local, via));	/* of a listener on 0.0.0.0: the address that the client found it at */
	policy_obj_push(c.L, &CONN_META_OBJ, s->meta);
	rc = policy_call_run(&c, 3, 1);
	if (rc == -E_REJECT)
		rc = err_set(E_POLICY, "get_listener_domain called kumo.reject (%d %s); it must return an answer or nil", c.reject_code, c.reject_text);
	if (rc == 0 && !lua_isnil(c.L, -1)) {
		const struct listener_domain *d = policy_obj_get(c.L, -1, &LISTENER_DOMAIN_OBJ);
		if (d != NULL)
			take_answer(s, answer, d);
		else
			rc = err_set(E_POLICY, "get_listener_domain returned a %s for %.*s; it must return kumo.make_listener_domain{…} or nil",
				     lua_typename(c.L, lua_type(c.L, -1)), SLICE_ARG(answer->domain));
	}
	watch_answer(s, answer, rc);
	policy_call_end(&c);
	return rc;
}

void relay_forget(struct smtp_session *s)
{
	s->domains = NULL;
	s->n_domains = 0;
	if (s->domain_arena != NULL)
		arena_destroy(&s->domain_arena);
}

/* *OUT is valid until the next domain that is asked for. */
static int answer_for(struct smtp_session *s, struct slice domain, const struct domain_answer **out)
{
	for (const struct domain_answer *d = s->domains; d != NULL; d = d->next)
		if (slice_eq(d->domain, domain)) {
			*out = d;
			return 0;
		}
	if (s->n_domains == DOMAINS_MAX)
		relay_forget(s);
	if (s->domain_arena == NULL)
		s->domain_arena = arena_create();
	struct domain_answer *d = arena_alloc(s->domain_arena, sizeof *d);
	d->domain = arena_dup(s->domain_arena, domain);
	int rc = ask_policy(s, d);
	if (rc < 0)
		return rc;
	d->next = s->domains;
	s->domains = d;
	s->n_domains++;
	*out = d;
	return 0;
}

int relay_check(struct smtp_session *s, struct slice sender_domain, struct slice rcpt_domain, struct relay_verdict *out)
{
	const struct domain_answer *answer;
	*out = (struct relay_verdict){ .relay = smtp_params_relays_for(s->params, &s->peer.ip) };
	if (!policy_event_wanted(&EV_GET_LISTENER_DOMAIN) && !trace_on(TRACE_SMTP_SERVER))
		return 0;
	int rc = answer_for(s, sender_domain, &answer);
	if (rc < 0)
		return rc;
	out->relay |= answer->relay_from_peer;
	rc = answer_for(s, rcpt_domain, &answer);
	if (rc < 0)
		return rc;
	if (answer->found) {
		out->relay |= answer->verdict.relay;
		out->log_oob = answer->verdict.log_oob;
		out->log_arf = answer->verdict.log_arf;
	}
	return 0;
}
