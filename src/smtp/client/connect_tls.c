/* SPDX-License-Identifier: Apache-2.0 */
/* connect_tls - whether a connection is encrypted, and how sure one must be of the peer: enable_tls, DANE, MTA-STS. */
#include <stdlib.h>
#include "base/xalloc.h"
#include "net/ttl_cache.h"
#include "policy/keysource.h"
#include "rt/fiber.h"
#include "rt/metrics.h"
#include "rt/offload.h"
#include "smtp/client/session.h"

#define CTX_TTL_MS 300000
#define BROKEN_DEFAULT_NS (15 * 60 * 1000000000LL)
#define QUIT_MAX_MS 2000
#define TLSA_MAX 64

static struct ttl_cache *contexts;	/* "insecure PATH-OPTIONS" to struct tls_ctx */
static struct ttl_cache *broken_sites;	/* names of ready queues */
static struct metric_family DANE_RESULT = { .name = "dane_result_count", .help = "decisions about DANE while connecting, by result", .kind = METRIC_COUNTER_K,
	.labels = { "result" }, .keep = true };

static void *ctx_ref(void *v)
{
	return tls_ctx_ref(v);
}

static void ctx_unref(void *v)
{
	struct tls_ctx *c = v;
	tls_ctx_unref(&c);
}

static void *flag_ref(void *v)
{
	return v;
}

static void flag_unref(void *v)
{
}

void smtp_tls_init(void)
{
	contexts = ttl_cache_create(&(struct ttl_cache_conf){ "smtp_dispatcher_client_certificate", 1024, ctx_ref, ctx_unref });
	broken_sites = ttl_cache_create(&(struct ttl_cache_conf){ "smtp_dispatcher_broken_tls", 64 * 1024, flag_ref, flag_unref });
	metric_register(&DANE_RESULT);
}

static void count_dane(const char *result)
{
	struct metric *m = metric_get(&DANE_RESULT, result);

	metric_add(m, 1);
	metric_unref(&m);
}

/* -- contexts: reading the system's certificate authorities takes milliseconds -- */

struct make_ctx {
	const struct path_opts *path;
	struct tls_client_conf conf;
	struct tls_ctx *ctx;
	int rc;
};

static void make_blocking(void *arg)
{
	struct make_ctx *m = arg;
	m->rc = tls_ctx_client(&m->conf, &m->ctx);
}

static int make_ctx(void *arg, void **value, int64_t *expires_ms)
{
	struct make_ctx *m = arg;
	struct buf cert = { 0 }, key = { 0 };
	int rc = 0;

	if (m->path->tls_certificate)
		rc = policy_key_load(m->path->tls_certificate, &cert);
	if (rc == 0 && m->path->tls_private_key)
		rc = policy_key_load(m->path->tls_private_key, &key);
	if (rc == 0) {
		m->conf.certificate = buf_view(&cert);
		m->conf.private_key = buf_view(&key);
		rt_offload(make_blocking, m);
		rc = m->rc;
	}
	if (rc < 0)
		err_prefix("Invalid client certificate configured");
	if (key.ptr)
		explicit_bzero(key.ptr, key.len);
	buf_fini(&cert);
	buf_fini(&key);
	*value = m->ctx;
	*expires_ms = rt_now_ms() + CTX_TTL_MS;
	return rc;
}

static int get_ctx(struct dispatcher *d, bool insecure, bool openssl, struct tls_ctx **out)
{
	const struct path_opts *p = dispatch_path(d);
	struct make_ctx m = { .path = p, .conf = { .insecure = insecure } };
	struct buf key = { 0 };
	void *value;

	if (openssl) {
		m.conf.cipher_list = p->openssl_cipher_list;
		m.conf.cipher_suites = p->openssl_cipher_suites;
		m.conf.options = p->openssl_options;
	} else {
		m.conf.rustls_suites = p->rustls_cipher_suites.items;
		m.conf.n_rustls_suites = p->rustls_cipher_suites.n;
	}
	buf_printf(&key, "%d%d%.*s", insecure, openssl, SLICE_ARG(d->path->key));
	int rc = ttl_cache_load(contexts, buf_view(&key), make_ctx, &m, &value);
	buf_fini(&key);
	if (rc == 0)
		*out = value;
	return rc;
}

/* -- DANE (RFC 7672) -- */

struct dane {
	struct dns_answer *answer;	/* what TLSA views */
	struct tls_tlsa tlsa[TLSA_MAX];
	size_t n;
};

static bool usable(const struct tls_tlsa *t)
{
	return (t->usage == 2 || t->usage == 3) && t->selector <= 1 && t->matching <= 2 && t->data.len;
}

static void collect_usable(struct dane *dn)
{
	for (uint32_t i = 0; i < dn->answer->n && dn->n < TLSA_MAX; i++) {
		struct slice r = dn->answer->rrs[i].data;
		if (r.len < 4)
			continue;
		struct tls_tlsa t = { (uint8_t)r.ptr[0], (uint8_t)r.ptr[1], (uint8_t)r.ptr[2], slice_sub(r, 3, SIZE_MAX) };
		if (usable(&t))
			dn->tlsa[dn->n++] = t;
	}
}

static bool is_unsure(const struct dns_answer *a)
{
	return a->status == DNS_FAIL || a->bogus;
}

/* Nothing is sent: an attacker must not be able to switch DANE off. */
static int fail_lookup(struct dispatcher *d, const char *type, const char *host, const struct dns_answer *a)
{
	count_dane("tempfail");
	err_set(E_DNS, "DANE %s lookup for %s could not be securely resolved: %.*s", type, host, SLICE_ARG(a->error));
	smtp_session_note(d, "INFO", "%s", err_text());
	return -E_DNS;
}

static int look_up_tlsa(struct dispatcher *d, struct dane *dn, enum path_tls *want, bool *sts_may_decide)
{
	struct smtp_session *s = d->state;
	struct buf name = { 0 };

	buf_printf(&name, "_%u._tcp.%s", s->remote.port, s->host->name);
	int rc = dns_lookup(NULL, buf_view(&name), DNS_TLSA, &dn->answer);
	buf_fini(&name);
	if (rc < 0)
		return rc;
	if (is_unsure(dn->answer))
		return fail_lookup(d, "TLSA", s->host->name, dn->answer);
	if (!dn->answer->secure || dn->answer->status != DNS_OK || dn->answer->n == 0) {
		count_dane("not_applicable");
		smtp_session_note(d, "INFO", "%s is not DANE-eligible", s->host->name);
		return 0;
	}
	collect_usable(dn);
	if (dn->n) {
		count_dane("ok");
		smtp_session_note(d, "INFO", "DANE records for %s: %zu usable", s->host->name, dn->n);
		*want = TLS_REQUIRED;
		*sts_may_decide = false;
	} else {
		count_dane("unusable");
		smtp_session_note(d, "INFO", "DANE TLSA records for %s exist but none are usable; requiring unauthenticated STARTTLS", s->host->name);
		*want = TLS_REQUIRED_INSECURE;
	}
	return 0;
}

/*
 * Whether TLSA records of the host speak for the domain (RFC 7672 2.2): its choice and its address must be secure, or the address be
 * that of a secure alias' target, for then the TLSA records of the alias vouch for the peer (2.2.2). 1, 0; negative: unknown.
 */
static int is_eligible(struct dispatcher *d)
{
	struct smtp_session *s = d->state;
	struct dns_answer *alias;
	struct ipaddr ip;
	int rc;

	if (!s->choice_secure || s->host->name[0] == '[' || ipaddr_parse(slice_from_cstr(s->host->name), &ip) == 0)
		return 0;
	if (s->host->secure)
		return 1;
	if ((rc = dns_lookup(NULL, slice_from_cstr(s->host->name), DNS_CNAME, &alias)) < 0)
		return rc;
	rc = alias->status == DNS_OK && alias->secure;
	if (is_unsure(alias))
		rc = fail_lookup(d, "CNAME", s->host->name, alias);
	else if (rc)
		smtp_session_note(d, "INFO", "%s is a secure alias of a name that is not: DANE goes by the alias (RFC 7672 2.2.2)", s->host->name);
	dns_answer_unref(&alias);
	return rc;
}

static int apply_dane(struct dispatcher *d, struct dane *dn, enum path_tls *want, bool *sts_may_decide)
{
	struct smtp_session *s = d->state;
	int rc;

	if (!dispatch_path(d)->enable_dane) {
		smtp_session_note(d, "INFO", "DANE is not enabled for this path");
		return 0;
	}
	if ((rc = is_eligible(d)) < 0)
		return rc;
	if (rc == 0) {
		count_dane("insecure_chain");
		smtp_session_note(d, "INFO", "DANE is enabled but the chain to %s is not fully DNSSEC-secure; not using DANE", s->host->name);
		return 0;
	}
	return look_up_tlsa(d, dn, want, sts_may_decide);
}

static void apply_mta_sts(struct dispatcher *d, enum path_tls *want)
{
	enum mx_sts mode = d->rq->mx ? d->rq->mx->mta_sts : MX_STS_NONE;

	if (!dispatch_path(d)->enable_mta_sts || mode == MX_STS_NONE)
		return;
	if (mode == MX_STS_ENFORCE) {
		*want = TLS_REQUIRED;
		smtp_session_note(d, "INFO", "MTA-STS enforce policy in effect; requiring TLS");
	} else {
		if (*want != TLS_REQUIRED_INSECURE || dispatch_path(d)->enable_tls == TLS_REQUIRED_INSECURE)
			*want = TLS_OPPORTUNISTIC_INSECURE;
		smtp_session_note(d, "INFO", "MTA-STS testing policy in effect");
	}
}

/* -- the handshake and what follows when it fails -- */

static void remember_broken(struct dispatcher *d)
{
	const struct path_opts *p = dispatch_path(d);
	struct smtp_session *s = d->state;
	int64_t ns = p->has_remember_broken_tls ? p->remember_broken_tls : p->opportunistic_tls_reconnect_on_failed_handshake ? BROKEN_DEFAULT_NS : 0;

	if (ns == 0)
		return;
	s->broken_tls = true;
	ttl_cache_put(broken_sites, d->rq->name, &broken_sites, rt_now_ms() + ns / 1000000);
}

static bool is_broken(struct dispatcher *d)
{
	const struct smtp_session *s = d->state;
	return s->broken_tls || ttl_cache_get(broken_sites, d->rq->name) != NULL;
}

static bool is_opportunistic(enum path_tls want)
{
	return want == TLS_OPPORTUNISTIC || want == TLS_OPPORTUNISTIC_INSECURE;
}

/* It failed, and in the clear it may go better: the same host again. Otherwise RC with the cause. */
static int fail_tls(struct dispatcher *d, enum path_tls want, int rc, const char *what, const char *why)
{
	struct smtp_session *s = d->state;

	remember_broken(d);
	if (is_opportunistic(want) && dispatch_path(d)->opportunistic_tls_reconnect_on_failed_handshake) {
		s->next = (size_t)(s->host - s->hosts);
		return err_set(-rc, "%s: %s, will re-connect in the clear because opportunistic_tls_reconnect_on_failed_handshake=true", what, why);
	}
	bool told = dispatch_path(d)->has_remember_broken_tls && !is_opportunistic(want);
	return err_set(-rc, "%s: %s%s", what, why, told ? " (remember_broken_tls is set, but TLS is required)" : "");
}

static int hello_again(struct dispatcher *d, enum path_tls want, const char *status)
{
	struct smtp_session *s = d->state;
	bool lmtp = dispatch_path(d)->use_lmtp;
	char to[128];
	int rc = smtp_client_hello(s->client, slice_from_cstr(s->ehlo_name), lmtp);

	if (rc >= 0 || rc == -E_CANCELED)
		return rc;
	char *why = xstrdup(err_text());
	char *what = xasprintf("%s/%s: %s after STARTTLS%s", s->host->name, netaddr_text(&s->remote, to), lmtp ? "LHLO" : "EHLO", status);
	rc = fail_tls(d, want, rc, what, why);
	free(what);
	free(why);
	return rc;
}

static int handshake_failed(struct dispatcher *d, enum path_tls want, bool *enabled)
{
	struct smtp_session *s = d->state;
	char to[128];
	char *why = xstrdup(err_text());
	int rc;

	if (want == TLS_OPPORTUNISTIC_INSECURE && !dispatch_path(d)->opportunistic_tls_reconnect_on_failed_handshake) {
		remember_broken(d);
		*enabled = false; /* on in the clear, if the peer still understands us */
		rc = hello_again(d, want, " failed");
	} else {
		if (want != TLS_OPPORTUNISTIC_INSECURE)
			smtp_client_quit(s->client, QUIT_MAX_MS);
		char *what = xasprintf("TLS handshake with %s/%s failed", s->host->name, netaddr_text(&s->remote, to));
		rc = fail_tls(d, want, -E_TLS, what, why);
		free(what);
	}
	free(why);
	return rc;
}

static int start_tls(struct dispatcher *d, enum path_tls want, const struct dane *dn, bool *enabled)
{
	const struct path_opts *p = dispatch_path(d);
	struct smtp_session *s = d->state;
	struct tls_peer peer = { .hostname = slice_from_cstr(s->host->name), .tlsa = dn->tlsa, .n_tlsa = dn->n, .timeout_ms = p->starttls_timeout / 1000000 };
	bool insecure = want == TLS_OPPORTUNISTIC_INSECURE || want == TLS_REQUIRED_INSECURE;
	struct tls_ctx *ctx;
	int rc;

	s->openssl_names = p->tls_prefer_openssl || dn->n;
	if ((rc = get_ctx(d, insecure, s->openssl_names, &ctx)) < 0)
		return rc;
	dispatch_detail(d, "STARTTLS");
	rc = smtp_client_starttls(s->client, ctx, &peer, &s->tls);
	tls_ctx_unref(&ctx);
	if (rc < 0)
		return rc;
	if (rc == 1)
		return handshake_failed(d, want, enabled);
	s->has_tls = true;
	*enabled = true;
	return hello_again(d, want, "");
}

static const char *want_name(enum path_tls want)
{
	static const char *const names[] = { "Opportunistic", "OpportunisticInsecure", "Required", "RequiredInsecure", "Disabled" };
	return names[want];
}

int smtp_negotiate_tls(struct dispatcher *d, bool *enabled)
{
	struct smtp_session *s = d->state;
	enum path_tls want = (enum path_tls)dispatch_path(d)->enable_tls;
	bool offered = smtp_client_offers(s->client, "STARTTLS"), sts_may_decide = true;
	struct dane *dn = xzalloc(sizeof *dn);
	char to[128];
	int rc = apply_dane(d, dn, &want, &sts_may_decide);

	*enabled = false;
	if (rc == 0 && sts_may_decide)
		apply_mta_sts(d, &want);
	if (rc == 0 && !offered && (want == TLS_REQUIRED || want == TLS_REQUIRED_INSECURE))
		rc = err_set(E_TLS, "tls policy is %s but STARTTLS is not advertised by %s/%s", want_name(want), s->host->name, netaddr_text(&s->remote, to));
	else if (rc == 0 && offered && want != TLS_DISABLED && !(is_opportunistic(want) && is_broken(d)))
		rc = start_tls(d, want, dn, enabled);
	dns_answer_unref(&dn->answer);
	free(dn);
	return rc;
}
