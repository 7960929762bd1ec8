/* SPDX-License-Identifier: Apache-2.0 */
/* kumo.start_http_listener: options, listeners, and the way of a request from its path to its endpoint. */
#include "api/auth.h"
#include "base/list.h"
#include "policy/keysource.h"
#include "rt/diag.h"
#include "rt/sync.h"
#include "tls/key.h"
#include "tls/tls.h"
#include <stdlib.h>
#include <unistd.h>

#define TLS_HANDSHAKE_MS 30000

struct listener_opts {
	struct slice listen, hostname;
	int64_t request_body_limit;
	bool use_tls;
	const struct val *tls_certificate, *tls_private_key;
	struct opt_list trusted_hosts;
	bool has_trusted_hosts;
};
struct listener {
	struct list node;
	struct http_server *server;
	struct arena *arena;
	struct listener_opts opts;
	struct cidr *trusted;
	size_t n_trusted;
};

static const struct opt_field FIELDS[] = {
	OPT_STR(struct listener_opts, hostname, NULL, "name in the certificate; the machine's by default"),
	OPT_STR(struct listener_opts, listen, "127.0.0.1:8000", "address and port"),
	OPT_SIZE(struct listener_opts, request_body_limit, "2097152", "bytes of a request's body, after decompression"),
	OPT_BOOL(struct listener_opts, use_tls, "false", "speak TLS"),
	OPT_CUSTOM(struct listener_opts, tls_certificate, policy_read_key_source, NULL, "key source of the certificate chain; self-signed by default"),
	OPT_CUSTOM(struct listener_opts, tls_private_key, policy_read_key_source, NULL, "key source of its key"),
	OPT_LIST(struct listener_opts, trusted_hosts, NULL, "networks whose requests need no credentials; this machine by default", OPT_PRESENT(struct listener_opts, has_trusted_hosts)),
	OPT_END
};
static const struct opt_desc DESC = { .name = "start_http_listener", .fields = FIELDS, .size = sizeof(struct listener_opts) };

static const struct api_endpoint *endpoints;
static struct rt_lock lock = RT_LOCK_INIT(RANK_LEAF);
static struct list listeners = { &listeners, &listeners };	/* under lock */

void api_set_endpoints(const struct api_endpoint *table) { endpoints = table; }
const struct api_endpoint *api_endpoints(void) { return endpoints; }

struct slice api_listener_hostname(const struct api_call *c)
{
	return ((const struct listener *)c->req->arg)->opts.hostname;
}

/* --- requests ---------------------------------------------------------------------------------------------------------- */

static bool is_trusted(const struct listener *l, const struct ipaddr *peer)
{
	for (size_t i = 0; i < l->n_trusted; i++) {
		if (cidr_has(&l->trusted[i], peer))
			return true;
	}
	return false;
}

static bool path_known(struct slice path)
{
	for (const struct api_endpoint *e = endpoints; e->method; e++) {
		if (slice_eq_cstr(path, e->path))
			return true;
	}
	return false;
}

/* GET answers HEAD too. */
static const struct api_endpoint *find(struct slice method, struct slice path)
{
	for (const struct api_endpoint *e = endpoints; e->method; e++) {
		if (slice_eq_cstr(path, e->path) &&
		    (slice_eq_cstr(method, e->method) || (slice_eq_cstr(method, "HEAD") && strcmp(e->method, "GET") == 0)))
			return e;
	}
	return NULL;
}

static void put_allow(struct buf *headers, struct slice path)
{
	bool first = true;

	buf_lit(headers, "allow: ");
	for (const struct api_endpoint *e = endpoints; e->method; e++) {
		if (!slice_eq_cstr(path, e->path))
			continue;
		buf_printf(headers, "%s%s%s", first ? "" : ",", e->method, strcmp(e->method, "GET") == 0 ? ",HEAD" : "");
		first = false;
	}
	buf_lit(headers, "\r\n");
}

static bool admit(struct api_call *c, struct slice path)
{
	struct val resources = val_list();
	struct buf who = { 0 };
	enum aaa_access access;
	char local[128];
	struct slice method = c->req->head->method;

	netaddr_text(&c->req->local, local);
	aaa_http_resources(c->arena, slice_from_cstr(local), path, &resources);
	int rc = aaa_check(&resources, &c->auth, method, &access);
	if (rc < 0) {
		diag_error("http", "access to %.*s: %s", SLICE_ARG(path), err_text());
		http_respond(c->resp, 500, "try again later");
		return false;
	}
	if (access == AAA_ALLOW)
		return true;
	aaa_put(&who, &c->auth);
	http_respond(c->resp, 401, "%s %s %.*s on %.*s", buf_cstr(&who), access == AAA_DENY ? "denied" : "not permitted", SLICE_ARG(method),
		     SLICE_ARG(resources.items[0].s));
	buf_fini(&who);
	return false;
}

static void handle(struct http_request *req, struct http_response *resp)
{
	struct listener *l = req->arg;
	struct api_call c = { .req = req, .resp = resp, .arena = req->arena };
	struct slice path = req->head->path;

	if (!path_known(path)) {
		resp->status = 404;
		return;
	}
	if (!api_authenticate(&c, is_trusted(l, &req->peer.ip)))
		return;
	const struct api_endpoint *e = find(req->head->method, path);
	bool admitted = admit(&c, path);
	if (!e)
		put_allow(&resp->headers, path);
	if (!admitted)
		return;
	if (e)
		e->fn(&c);
	else
		resp->status = 405;
}

/* --- starting ---------------------------------------------------------------------------------------------------------- */

static int read_trusted(struct listener *l)
{
	static const struct slice LOCAL[] = { SLICE_INIT("127.0.0.1"), SLICE_INIT("::1") };
	const struct slice *hosts = l->opts.has_trusted_hosts ? l->opts.trusted_hosts.items : LOCAL;
	size_t n = l->opts.has_trusted_hosts ? l->opts.trusted_hosts.n : ARRAY_LEN(LOCAL);

	l->trusted = arena_alloc(l->arena, (n + 1) * sizeof *l->trusted);
	for (; l->n_trusted < n; l->n_trusted++) {
		if (cidr_parse(hosts[l->n_trusted], &l->trusted[l->n_trusted]) < 0)
			return err_set(E_INVAL, "start_http_listener.trusted_hosts[%zu]: %.*s is neither an address nor a network: %s", l->n_trusted + 1,
				       SLICE_ARG(hosts[l->n_trusted]), err_text());
	}
	return 0;
}

static struct rt_io *wrap(struct rt_io *io, void *ctx)
{
	if (tls_accept(ctx, &io, TLS_HANDSHAKE_MS, NULL) < 0) {
		diag_debug("http", "TLS: %s", err_text());
		rt_io_close(&io);
	}
	return io;
}

static int load_key(const struct val *source, struct buf *out)
{
	return source ? policy_key_load(source, out) : 0;
}

/* An unusable key is told by where it came from. */
static int check_key(const struct val *source, struct slice pem)
{
	struct tls_key *key;
	struct slice from = source->type == VAL_STR ? source->s : SLICE("the key source");

	if (tls_key_load_private(pem, &key) < 0)
		return err_set(E_INVAL, "loading private key from %.*s: no items found", SLICE_ARG(from));
	tls_key_unref(&key);
	return 0;
}

static int configure_tls(struct listener *l, struct http_server_conf *conf)
{
	struct tls_server_conf t = { .hostname = l->opts.hostname };
	struct buf certificate = { 0 }, key = { 0 };
	struct tls_ctx *ctx;

	if (!l->opts.use_tls)
		return 0;
	int rc = load_key(l->opts.tls_certificate, &certificate);
	if (rc == 0)
		rc = load_key(l->opts.tls_private_key, &key);
	if (rc == 0 && l->opts.tls_private_key)
		rc = check_key(l->opts.tls_private_key, buf_view(&key));
	if (rc == 0) {
		t.certificate = buf_view(&certificate);
		t.private_key = buf_view(&key);
		rc = tls_ctx_server(&t, &ctx);
	}
	if (rc == 0) {
		conf->wrap = wrap;
		conf->tls = ctx;	/* lives as long as the listener: for good */
	}
	buf_fini(&certificate);
	buf_fini(&key);
	return rc;
}

static void default_hostname(struct listener *l)
{
	char host[256];

	if (l->opts.hostname.len || gethostname(host, sizeof host) < 0)
		return;
	host[sizeof host - 1] = 0;
	l->opts.hostname = arena_dup(l->arena, slice_from_cstr(host));
}

static int start(struct listener *l)
{
	struct http_server_conf conf = { .handler = handle, .arg = l, .body_limit = l->opts.request_body_limit };
	struct netaddr real;
	char text[128];

	int rc = netaddr_parse(l->opts.listen, 8000, &conf.listen);
	if (rc < 0)
		return err_set(E_INVAL, "start_http_listener.listen: %.*s is no address and port: %s", SLICE_ARG(l->opts.listen), err_text());
	default_hostname(l);
	if ((rc = read_trusted(l)) < 0 || (rc = configure_tls(l, &conf)) < 0)
		return rc;
	if ((rc = http_server_start(&conf, &l->server)) < 0)
		return rc;
	http_server_addr(l->server, &real);
	diag_info("kumod", "%s listener on %s", l->opts.use_tls ? "https" : "http", netaddr_text(&real, text));
	return 0;
}

int api_listener_check(const struct val *opts)
{
	struct arena *a = arena_create();
	struct val kept = val_copy(a, opts);
	struct listener *l = arena_alloc(a, sizeof *l);
	int rc = opt_parse(&DESC, &kept, a, &l->opts);

	arena_destroy(&a);
	return rc;
}

int api_listener_start(const struct val *opts)
{
	struct arena *a = arena_create();
	struct listener *l = arena_alloc(a, sizeof *l);

	l->arena = a;
	struct val kept = val_copy(a, opts);
	int rc = opt_parse(&DESC, &kept, a, &l->opts);
	if (rc == 0)
		rc = start(l);
	if (rc < 0) {
		arena_destroy(&a);
		return rc;
	}
	rt_lock(&lock);
	list_push(&listeners, &l->node);
	rt_unlock(&lock);
	return 0;
}

/* Listeners stay in memory: requests that are still being served refer to them. */
void api_listeners_stop(void)
{
	struct http_server *server;

	for (;;) {	/* a server has locks of its own: stop it without ours */
		server = NULL;
		rt_lock(&lock);
		LIST_EACH(it, &listeners) {
			struct listener *l = LIST_ENTRY(it, struct listener, node);
			if (l->server) {
				server = l->server;
				l->server = NULL;
				break;
			}
		}
		rt_unlock(&lock);
		if (!server)
			return;
		http_server_stop(&server);
	}
}

void api_register(void)
{
	aaa_register();
	api_auth_register();
}
