/* SPDX-License-Identifier: Apache-2.0 */
/* STARTTLS (RFC 3207). Contexts are kept for five minutes, so that a renewed certificate is taken up without a restart. */
#include <stdlib.h>

#include "base/map.h"
#include "base/xalloc.h"
#include "policy/keysource.h"
#include "rt/diag.h"
#include "rt/sync.h"
#include "smtp/server/session.h"
#include "tls/tls.h"

#define CONTEXT_TTL_MS (5 * 60 * 1000)
#define NSEC_PER_MSEC 1000000

struct cached_ctx {
	struct tls_ctx *ctx;
	int64_t until_ms;
};
static struct {
	struct rt_lock lock;
	struct map by_key;	/* of struct cached_ctx; as many as there are listeners' certificates */
} cache = { .lock = RT_LOCK_INIT(RANK_CACHE) };

static void put_source(struct buf *key, const struct val *v)
{
	if (v != NULL)
		json_put(key, v, JSON_SORTED);
	buf_putc(key, '\n');
}

static struct tls_ctx *find_context(struct slice key)
{
	struct tls_ctx *found = NULL;
	rt_lock(&cache.lock);
	struct cached_ctx *c = map_get(&cache.by_key, key);
	if (c != NULL && c->until_ms > rt_now_ms())
		found = tls_ctx_ref(c->ctx);
	rt_unlock(&cache.lock);
	return found;
}

static void keep_context(struct slice key, struct tls_ctx *ctx)
{
	struct cached_ctx *c = xzalloc(sizeof *c), *old;
	*c = (struct cached_ctx){ tls_ctx_ref(ctx), rt_now_ms() + CONTEXT_TTL_MS };
	rt_lock(&cache.lock);
	old = map_put(&cache.by_key, key, c);
	rt_unlock(&cache.lock);
	if (old != NULL) {
		tls_ctx_unref(&old->ctx);
		free(old);
	}
}

static int load(const struct val *source, struct buf *pem, const char *what)
{
	int rc = source == NULL ? 0 : policy_key_load(source, pem);
	if (rc < 0)
		err_prefix("%s", what);
	return rc;
}

static int make_context(const struct smtp_params *p, struct tls_ctx **out)
{
	struct buf cert = { 0 }, key = { 0 }, ca = { 0 };
	int rc = load(p->tls_certificate, &cert, "tls_certificate");
	if (rc == 0)
		rc = load(p->tls_private_key, &key, "tls_private_key");
	if (rc == 0)
		rc = load(p->tls_required_client_ca, &ca, "tls_required_client_ca");
	if (rc == 0) {
		const struct tls_server_conf conf = { buf_view(&cert), buf_view(&key), p->hostname, buf_view(&ca) };
		rc = tls_ctx_server(&conf, out);
	}
	buf_fini(&cert);
	buf_fini(&key);
	buf_fini(&ca);
	return rc;
}

static int get_context(const struct smtp_params *p, struct tls_ctx **out)
{
	struct buf key = { 0 };
	int rc = 0;
	put_source(&key, p->tls_certificate);
	put_source(&key, p->tls_private_key);
	put_source(&key, p->tls_required_client_ca);
	buf_slice(&key, p->hostname);
	*out = find_context(buf_view(&key));
	if (*out == NULL && (rc = make_context(p, out)) == 0)
		keep_context(buf_view(&key), *out);
	buf_fini(&key);
	return rc;
}

static void tell_meta(struct smtp_session *s, const struct tls_info *info)
{
	struct arena *a = session_arena(s);
	struct val subject = val_list();
	struct slice entry;
	size_t pos = 0;
	conn_meta_set_str(s->meta, "tls_cipher", slice_from_cstr(info->cipher));
	conn_meta_set_str(s->meta, "tls_protocol_version", slice_from_cstr(info->protocol));
	while (info->authenticated && tls_info_subject_next(info, &pos, &entry))
		val_push(a, &subject, val_str(a, entry));
	if (subject.n > 0)
		conn_meta_set(s->meta, SLICE("tls_peer_subject_name"), &subject);
}

/* What the client sent in clear behind STARTTLS is thrown away: an attacker may have put it there. */
static void forget_clear_text(struct smtp_session *s)
{
	rt_io_consume(s->io, rt_io_buffered(s->io).len);
}

int cmd_starttls(struct smtp_session *s, const struct smtp_cmd *cmd)
{
	struct tls_ctx *ctx;
	struct tls_info info = { 0 };
	if (s->tls)
		return reply_lit(s, 501, "Cannot STARTTLS as TLS is already active", cmd->line);
	int rc = reply_lit(s, 220, "Ready to Start TLS", SLICE_NONE);
	if (rc == 0)
		rc = session_flush(s);
	if (rc < 0)
		return rc;
	forget_clear_text(s);
	if (get_context(s->params, &ctx) < 0)
		return reply_trouble(s, "STARTTLS");
	rc = tls_accept(ctx, &s->io, s->params->client_timeout / NSEC_PER_MSEC, &info);
	tls_ctx_unref(&ctx);
	if (rc < 0) {
		char peer[128];
		diag_debug("smtpsrv", "TLS with %s failed: %s", netaddr_text(&s->peer, peer), err_text());
		return rc;
	}
	rt_io_set_timeout(s->io, s->params->client_timeout / NSEC_PER_MSEC, s->params->client_timeout / NSEC_PER_MSEC);
	s->tls = true;
	tell_meta(s, &info);
	tls_info_fini(&info);
	txn_reset(s);
	return 0;
}
