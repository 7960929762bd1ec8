/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between nodes: the protocol that empties xfer queues, and POST /api/xfer/inject/v1, which takes them in on the other side.
 *
 * On the wire stands {"id", "sender", "recipient", "meta"} as JSON, LF, and the message, gzipped: what KumoMTA nodes of any kind exchange.
 */
#include "api/aaa.h"
#include "api/api.h"
#include "api/inject.h"
#include "net/http_client.h"
#include "policy/nodeid.h"
#include "policy/objects.h"
#include "queue/admin/xfer.h"
#include "queue/queue.h"
#include "queue/ready/dispatch.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include <stdlib.h>
#include <zlib.h>

static const struct policy_event EV_XFER_IN = { "xfer_message_received", POLICY_SINGLE };

/* --- out --------------------------------------------------------------------------------------------------------------- */

static struct val recipients_val(struct arena *a, const struct msg_env *env)
{
	struct val list = val_list();

	for (uint32_t i = 0; i < env->n_recipients; i++)
		val_push(a, &list, val_str(a, env->recipients[i]));
	return list;
}

static void put_wire(struct msg *m, const struct msg_env *env, const struct msg_body *body, struct buf *out)
{
	struct arena *a = arena_create();
	struct val v = val_obj(), meta = val_copy(a, &env->meta);
	struct buf id = { 0 };

	uuid_put_simple(&id, msg_id(m));
	val_put_lit(a, &meta, "xfer_prior_id", val_str(a, buf_view(&id)));
	val_put_lit(a, &meta, "xfer_prior_node", val_cstr(a, nodeid_text()));
	val_put_lit(a, &v, "id", val_str(a, buf_view(&id)));
	val_put_lit(a, &v, "sender", val_str(a, env->sender));
	val_put_lit(a, &v, "recipient", recipients_val(a, env));
	val_put_lit(a, &v, "meta", meta);
	json_put(out, &v, JSON_COMPACT);
	buf_putc(out, '\n');
	buf_slice(out, msg_body_view(body));
	buf_fini(&id);
	arena_destroy(&a);
}

static int gzip(struct slice in, struct buf *out)
{
	z_stream z = { .next_in = (Bytef *)in.ptr, .avail_in = (uInt)in.len };

	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return err_set(E_IO, "gzip");
	size_t bound = deflateBound(&z, in.len);
	buf_reserve(out, bound);
	z.next_out = (Bytef *)out->ptr;
	z.avail_out = (uInt)bound;
	int st = deflate(&z, Z_FINISH);
	out->len = bound - z.avail_out;
	deflateEnd(&z);
	return st == Z_STREAM_END ? 0 : err_set(E_IO, "gzip");
}

static int pack(struct msg *m, struct buf *out)
{
	struct msg_body *body = NULL;
	struct msg_env *env = NULL;
	struct buf wire = { 0 };

	int rc = msg_env(m, &env);
	if (rc == 0)
		rc = msg_body(m, &body);
	if (rc == 0) {
		put_wire(m, env, body, &wire);
		rc = gzip(buf_view(&wire), out);
	}
	if (env)
		msg_env_unref(&env);
	if (body)
		msg_body_unref(&body);
	buf_fini(&wire);
	return rc;
}

/* scheme://host:port of the target, with the endpoint's path. */
static char *target_url(struct slice target, struct arena *a)
{
	ptrdiff_t at = slice_find(target, SLICE("://"));
	struct slice rest = slice_sub(target, at < 0 ? 0 : (size_t)at + 3, SIZE_MAX);
	ptrdiff_t slash = slice_chr(rest, '/');
	size_t len = slash < 0 ? target.len : (size_t)(rest.ptr - target.ptr) + (size_t)slash;

	return arena_printf(a, "%.*s/api/xfer/inject/v1", (int)len, target.ptr);
}

/* The other node's id for it, as text in A. */
static int post(struct dispatcher *d, struct msg *m, struct arena *a, struct slice *new_id)
{
	static const struct http1_header HEADERS[] = {
		{ SLICE_INIT("Content-Encoding"), SLICE_INIT("gzip") },
		{ SLICE_INIT("Content-Type"), SLICE_INIT("application/octet-stream") },
	};
	struct http_fetch f = { .method = "POST", .headers = HEADERS, .n_headers = ARRAY_LEN(HEADERS),
				.timeout_ms = dispatch_path(d)->data_dot_timeout / 1000000, .no_redirects = true };
	struct http_reply reply;
	struct buf body = { 0 };
	struct val v;

	f.url = target_url(dispatch_protocol(d)->target, a);
	dispatch_detail(d, "xfer POST %s", f.url);
	int rc = pack(m, &body);
	f.body = buf_view(&body);
	if (rc == 0)
		rc = http_fetch(&f, &reply);
	buf_fini(&body);
	if (rc < 0)
		return rc;
	if (reply.status < 200 || reply.status > 299)
		rc = err_set(E_REJECT, "request status %s: %d: %s. Response body: %.*s", f.url, reply.status, http1_reason(reply.status), (int)MIN(reply.body.len, (size_t)1000),
			     reply.body.ptr);
	else if ((rc = json_parse(buf_view(&reply.body), a, &v)) < 0)
		err_prefix("parsing response as json");
	else
		*new_id = val_get_str(&v, SLICE("id"));
	http_reply_fini(&reply);
	return rc;
}

static int xfer_init(struct dispatcher *d) { return 0; }
static int xfer_connect(struct dispatcher *d) { return CONNECT_REUSED; }
static bool xfer_more(struct dispatcher *d) { return false; }
static bool xfer_close(struct dispatcher *d) { return true; }
static void xfer_fini(struct dispatcher *d) {}

static int xfer_deliver(struct dispatcher *d)
{
	struct arena *a = arena_create();
	struct slice new_id = SLICE_NONE;
	int rc = post(d, d->msgs[0], a, &new_id);

	if (rc == 0) {
		struct smtp_response ok = { .code = 250, .content = arena_slicef(a, "new id is %.*s", SLICE_ARG(new_id)) };
		struct log_event ev = dispatch_event(d, LOG_XFER_OUT, d->msgs[0], ok);
		struct rt_shield shield;	/* it is there now: it must not stay here too */
		ev.egress_pool = ev.egress_source = SLICE_NONE;
		rt_shield_enter(&shield);
		if (log_disposition(&ev) < 0)
			diag_error("kumo.queue", "a message was transferred, its record could not be written: %s", err_text());
		dispatch_delivered(d, 0);
		rt_shield_leave(&shield);
	}
	arena_destroy(&a);
	return rc;
}

/* --- in ---------------------------------------------------------------------------------------------------------------- */

static int unpack(struct slice wire, struct arena *a, struct msg **out)
{
	ptrdiff_t lf = slice_chr(wire, '\n');
	struct slice rcpts[1024];
	struct uuid id;
	struct val v;
	uint32_t n = 0;

	if (lf < 0)
		return err_set(E_INVAL, "invalid xfer payload");
	int rc = json_parse(slice_sub(wire, 0, lf), a, &v);
	if (rc < 0)
		return rc;
	const struct val *to = val_get_lit(&v, "recipient"), *meta = val_get_lit(&v, "meta");
	struct slice sender = val_get_str(&v, SLICE("sender"));
	if (!sender.ptr || !to || to->type != VAL_LIST || !to->n || to->n > ARRAY_LEN(rcpts) || uuid_parse(val_get_str(&v, SLICE("id")), &id) < 0)
		return err_set(E_INVAL, "invalid xfer payload: id, sender or recipient");
	for (; n < to->n; n++) {
		if (to->items[n].type != VAL_STR)
			return err_set(E_INVAL, "invalid xfer payload: recipient");
		rcpts[n] = to->items[n].s;
	}
	struct msg_env *env = msg_env_create(sender, rcpts, n);
	if (meta && meta->type == VAL_OBJ)
		env->meta = val_copy(env->arena, meta);
	/* as old as it was there. Never an id that is in use: nodes make them at the same time, send twice what got no answer, and send back */
	*out = msg_create(uuid_v1_twin(id), env, msg_body_copy(slice_sub(wire, lf + 1, SIZE_MAX)));
	return 0;
}

static int set_text(struct msg *m, const char *key, struct slice text)
{
	struct arena *a = arena_create();
	struct val v = val_str(a, text);
	int rc = msg_meta_set(m, slice_from_cstr(key), &v);

	arena_destroy(&a);
	return rc;
}

static int note_origin(struct api_call *c, struct msg *m)
{
	struct buf peer = { 0 }, who = { 0 };
	const struct val *ids = val_get_lit(&c->auth, "identities");
	char local[128];

	ipaddr_put(&peer, &c->req->peer.ip);
	for (uint32_t i = 0; aaa_is_authenticated(&c->auth) && i < ids->n; i++)
		buf_printf(&who, "%s%.*s", i ? ", " : "", SLICE_ARG(val_get_str(&ids->items[i], SLICE("identity"))));
	int rc = set_text(m, "xfer_from", buf_view(&peer));
	if (rc == 0)
		rc = set_text(m, "xfer_via", slice_from_cstr(netaddr_text(&c->req->local, local)));
	if (rc == 0)
		rc = set_text(m, "xfer_auth", who.len ? buf_view(&who) : buf_view(&peer));
	buf_fini(&peer);
	buf_fini(&who);
	return rc;
}

static int ask_policy(struct api_call *c, struct msg *m)
{
	struct policy_call call;

	if (!policy_event_wanted(&EV_XFER_IN))
		return 0;
	int rc = policy_call_begin(&call, &EV_XFER_IN);
	if (rc < 0)
		return rc;
	policy_push_msg(call.L, m);
	policy_push_val(call.L, &c->auth);
	rc = policy_call_run(&call, 2, 0);
	if (rc == -E_REJECT)
		err_set(E_REJECT, "%d %s", call.reject_code, call.reject_text ? call.reject_text : "");
	policy_call_end(&call);
	return rc;
}

static int store_and_queue(struct api_call *c, struct msg *m)
{
	struct log_event ev = { .type = LOG_XFER_IN, .msg = m, .site = SLICE(""), .response = { .code = 250, .content = SLICE("") },
				.delivery_protocol = SLICE("xfer"), .peer_name = SLICE("") };
	struct buf peer = { 0 }, queue = { 0 };

	ipaddr_put(&peer, &c->req->peer.ip);
	ev.peer_addr = buf_view(&peer);
	int rc = msg_queue_name(m, &queue);
	if (rc == 0)
		rc = queue_prepare(buf_view(&queue));
	if (rc == 0)
		rc = msg_save(m);
	if (rc == 0)
		rc = log_disposition(&ev);
	if (rc == 0) {
		struct msg *queued = msg_ref(m);
		rc = queue_insert(queued, buf_view(&queue));
		if (rc < 0)
			msg_unref(&queued);
	}
	if (rc < 0)
		(void)msg_remove(m);
	buf_fini(&peer);
	buf_fini(&queue);
	return rc;
}

static int take_in(struct api_call *c, struct msg *m)
{
	struct val prior;
	int rc = msg_meta_get(m, SLICE("xfer_prior_node"), c->arena, &prior);

	if (rc == 0 && prior.type == VAL_STR && slice_eq_cstr(prior.s, nodeid_text()))
		return err_set(E_INVAL, "cannot xfer to myself. xfer_prior_node=%s which is my node id", nodeid_text());
	if (rc == 0)
		rc = note_origin(c, m);
	if (rc == 0)
		rc = xfer_restore_info(m);
	if (rc == 0)
		rc = ask_policy(c, m);
	return rc < 0 ? rc : store_and_queue(c, m);
}

void api_xfer_inject(struct api_call *c)
{
	const char *refusal = intake_refusal();
	struct msg *m = NULL;
	struct slice body;
	struct buf id = { 0 };

	if (refusal) {
		http_respond(c->resp, 503, "%s", refusal);
		return;
	}
	if (http_request_body(c->req, c->resp, &body) < 0)
		return;
	int rc = unpack(body, c->arena, &m);
	if (rc == 0)
		rc = take_in(c, m);
	if (rc < 0) {
		api_fail(c, rc == -E_NOENT ? -E_IO : rc);
	} else {
		struct val v = val_obj();
		uuid_put_simple(&id, msg_id(m));
		val_put_lit(c->arena, &v, "id", val_str(c->arena, buf_view(&id)));
		api_json(c, &v);
	}
	if (m)
		msg_unref(&m);
	buf_fini(&id);
}

void xfer_register(void)
{
	static const struct queue_protocol XFER = {
		.init = xfer_init, .connect = xfer_connect, .more_candidates = xfer_more, .deliver = xfer_deliver, .close = xfer_close, .fini = xfer_fini,
	};

	policy_event_register(&EV_XFER_IN);
	dispatch_register(PROTO_XFER, &XFER);
}
