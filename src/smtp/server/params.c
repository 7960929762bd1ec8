/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/params.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "policy/keysource.h"

static const struct opt_choice BATCH_HANDLING[] = {
	{ "BifurcateAlways", SMTP_BIFURCATE_ALWAYS }, { "BatchByDomain", SMTP_BATCH_BY_DOMAIN }, { NULL, 0 }
};
static const struct opt_choice LINE_ENDINGS[] = {
	{ "Deny", SMTP_LINES_DENY }, { "Allow", SMTP_LINES_ALLOW }, { "Fix", SMTP_LINES_FIX }, { NULL, 0 }
};

static const struct opt_field TRACE_FIELDS[] = {
	OPT_BOOL(struct smtp_trace_opts, received_header, "true", "add Received: before smtp_server_message_received"),
	OPT_BOOL(struct smtp_trace_opts, supplemental_header, "true", "add the supplemental header after it"),
	OPT_STR(struct smtp_trace_opts, header_name, "X-KumoRef", "name of the supplemental header"),
	OPT_LIST(struct smtp_trace_opts, include_meta_names, NULL, "metadata to put into the supplemental header, readable by everyone"),
	OPT_END
};
const struct opt_desc SMTP_TRACE_OPTS = { "trace_headers", TRACE_FIELDS, sizeof(struct smtp_trace_opts) };

int smtp_read_cidr_list(struct opt_ctx *c, const struct val *in, void *out)
{
	struct opt_list *list = out;
	if (in->type != VAL_LIST && !(in->type == VAL_OBJ && in->n == 0))
		return opt_fail_type(c, in, "a list of addresses and networks");
	size_t n = in->type == VAL_LIST ? in->n : 0;
	struct cidr *items = arena_alloc(opt_arena(c), (n + 1) * sizeof *items);
	for (size_t i = 0; i < n; i++) {
		if (in->items[i].type != VAL_STR)
			return opt_fail_type(c, &in->items[i], "an address or network such as '10.0.0.0/8'");
		if (cidr_parse(in->items[i].s, &items[i]) < 0)
			return opt_error(c, "%.*s: %s", SLICE_ARG(in->items[i].s), arena_strdup(opt_arena(c), slice_from_cstr(err_text())));
	}
	*list = (struct opt_list){ n, items };
	return 0;
}

/* Why a key is no network, without the key before it and the advice behind it. */
static const char *bare_reason(struct opt_ctx *c)
{
	struct slice s = slice_from_cstr(err_text());
	ptrdiff_t at = slice_find(s, SLICE("CIDR: ")), end;
	s = slice_sub(s, at < 0 ? 0 : (size_t)at + 6, SIZE_MAX);
	end = slice_find(s, SLICE(". Did you mean"));
	return arena_strdup(opt_arena(c), end < 0 ? s : slice_sub(s, 0, (size_t)end));
}

/* The text of a nested table's error behind "NAME.field: ". */
static const char *after_place(struct opt_ctx *c)
{
	struct slice s = slice_from_cstr(err_text());
	ptrdiff_t at = slice_find(s, SLICE(": "));
	return arena_strdup(opt_arena(c), slice_sub(s, at < 0 ? 0 : (size_t)at + 2, SIZE_MAX));
}

static int read_overlays(struct opt_ctx *c, const struct val *in, void *out)
{
	if (in->type == VAL_LIST && in->n == 0)
		return 0;
	if (in->type != VAL_OBJ)
		return opt_fail_type(c, in, "a table from networks to listener options");
	for (uint32_t i = 0; i < in->n; i++) {
		struct cidr net;
		if (cidr_parse(in->members[i].key, &net) < 0)
			return opt_error(c, "%s", bare_reason(c));
		int rc = smtp_params_check_overlay(&in->members[i].val);
		if (rc < 0)	/* the overlay's own text, its place last */
			return opt_error(c, "%s, while processing options for %.*s", after_place(c), SLICE_ARG(in->members[i].key));
	}
	struct val *copy = arena_alloc(opt_arena(c), sizeof *copy);
	*copy = val_copy(opt_arena(c), in);
	*(const struct val **)out = copy;
	return 0;
}

static int read_meta(struct opt_ctx *c, const struct val *in, void *out)
{
	if (in->type != VAL_OBJ && !(in->type == VAL_LIST && in->n == 0))
		return opt_fail_type(c, in, "a table of metadata");
	struct val *copy = arena_alloc(opt_arena(c), sizeof *copy);
	*copy = val_copy(opt_arena(c), in);
	*(const struct val **)out = copy;
	return 0;
}

/* The first two hold for the socket, not for a connection: an overlay has the rest. */
#define SOCKET_FIELDS 2
static const struct opt_field LISTENER_FIELDS[] = {
	OPT_STR(struct smtp_params, listen, "127.0.0.1:2025", "address and port to listen on"),
	OPT_INT(struct smtp_params, max_connections, "32768", "connections at once; more get a 421"),
	OPT_STR(struct smtp_params, hostname, NULL, "our name in the banner and replies; the machine's unless given"),
	OPT_STR(struct smtp_params, banner, "KumoMTA", "text of the greeting behind the name"),
	OPT_CUSTOM(struct smtp_params, relay_hosts, smtp_read_cidr_list, "[\"127.0.0.1\",\"::1\"]", "clients that may relay to anywhere"),
	OPT_ENUM(struct smtp_params, batch_handling, BATCH_HANDLING, "BifurcateAlways", "how a message to several recipients is split"),
	OPT_ENUM(struct smtp_params, invalid_line_endings, LINE_ENDINGS, "Deny", "what bare CR or LF in a message means"),
	OPT_DURATION(struct smtp_params, client_timeout, "60s", "how long to wait for the client"),
	OPT_DURATION(struct smtp_params, data_processing_timeout, "300s", "how long handling a received message may take"),
	OPT_INT(struct smtp_params, max_messages_per_connection, "10000", "recipients accepted on one connection"),
	OPT_INT(struct smtp_params, max_recipients_per_message, "1024", "recipients of one transaction"),
	OPT_SIZE(struct smtp_params, max_message_size, "20971520", "octets of a message"),
	OPT_SIZE(struct smtp_params, line_length_hard_limit, "998", "octets of a line without its CRLF"),
	OPT_SIZE(struct smtp_params, data_buffer_size, "131072", "octets read at once while a message comes in"),
	OPT_BOOL(struct smtp_params, deferred_spool, "false", "keep messages in memory until their first deferral: lost when the power goes"),
	OPT_BOOL(struct smtp_params, deferred_queue, "false", "answer 250 first and run policy later"),
	OPT_BOOL(struct smtp_params, allow_xclient, "false", "let clients claim other addresses"),
	OPT_BOOL(struct smtp_params, require_proxy_protocol, "false", "expect a PROXY header first"),
	OPT_SUB(struct smtp_params, trace_headers, &SMTP_TRACE_OPTS, "trace headers that are added"),
	OPT_CUSTOM(struct smtp_params, tls_certificate, policy_read_key_source, NULL, "PEM certificate chain; self-made unless given"),
	OPT_CUSTOM(struct smtp_params, tls_private_key, policy_read_key_source, NULL, "its PEM private key"),
	OPT_CUSTOM(struct smtp_params, tls_required_client_ca, policy_read_key_source, NULL, "authorities whose client certificates are believed"),
	OPT_CUSTOM(struct smtp_params, meta, read_meta, NULL, "metadata for each connection"),
	OPT_CUSTOM(struct smtp_params, peer, read_overlays, NULL, "options by the client's address"),
	OPT_CUSTOM(struct smtp_params, via, read_overlays, NULL, "options by our address"),
	OPT_END
};
const struct opt_desc SMTP_LISTENER_OPTS = { "start_esmtp_listener", LISTENER_FIELDS, sizeof(struct smtp_params) };
static const struct opt_desc OVERLAY_OPTS = { "ESMTP listener parameters", LISTENER_FIELDS + SOCKET_FIELDS, sizeof(struct smtp_params) };

static struct slice machine_name(struct arena *a)
{
	char name[256] = "localhost";
	(void)gethostname(name, sizeof name - 1);
	return arena_dup(a, slice_from_cstr(name));
}

static int parse_with(const struct opt_desc *d, const struct val *opts, struct smtp_params **out)
{
	struct arena *a = arena_create();
	struct smtp_params *p = xzalloc(sizeof *p);
	int rc = opt_parse(d, opts, a, p);
	if (rc < 0) {
		arena_destroy(&a);
		free(p);
		return rc;
	}
	p->refs = 1;
	p->arena = a;
	if (p->hostname.ptr == NULL)
		p->hostname = machine_name(a);
	*out = p;
	return 0;
}

int smtp_params_parse(const struct val *opts, struct smtp_params **out)
{
	return parse_with(&SMTP_LISTENER_OPTS, opts, out);
}

int smtp_params_check_overlay(const struct val *opts)
{
	struct smtp_params *p;
	int rc = parse_with(&OVERLAY_OPTS, opts, &p);
	if (rc == 0)
		smtp_params_unref(&p);
	return rc;
}

/* The block of MAP with the longest prefix that holds ADDR. */
static const struct val *block_for(const struct val *map, const struct ipaddr *addr)
{
	const struct val *best = NULL;
	int best_bits = -1;
	for (uint32_t i = 0; map != NULL && map->type == VAL_OBJ && i < map->n; i++) {
		struct cidr net;
		if (cidr_parse(map->members[i].key, &net) == 0 && cidr_has(&net, addr) && net.bits > best_bits) {
			best = &map->members[i].val;
			best_bits = net.bits;
		}
	}
	return best;
}

#define OVERLAY_DEPTH 16
static void overlay(struct arena *a, struct val *onto, const struct val *from, const struct ipaddr *local, const struct ipaddr *peer, int depth)
{
	if (from == NULL || from->type != VAL_OBJ || depth == OVERLAY_DEPTH)
		return;
	for (uint32_t i = 0; i < from->n; i++) {
		struct slice key = from->members[i].key;
		const struct val *v = &from->members[i].val;
		if (slice_eq(key, SLICE("peer")) || slice_eq(key, SLICE("via")))
			continue;
		const struct val *had = val_get(onto, key);
		struct val merged = val_copy(a, v);
		if (slice_eq(key, SLICE("meta")) && had != NULL && had->type == VAL_OBJ && v->type == VAL_OBJ) {
			merged = val_copy(a, had);
			for (uint32_t m = 0; m < v->n; m++)
				val_put(a, &merged, v->members[m].key, val_copy(a, &v->members[m].val));
		}
		val_put(a, onto, key, merged);
	}
	overlay(a, onto, block_for(val_get(from, SLICE("peer")), peer), local, peer, depth + 1);
	overlay(a, onto, block_for(val_get(from, SLICE("via")), local), local, peer, depth + 1);
}

int smtp_params_resolve(const struct val *opts, const struct val *extra, const struct ipaddr *local, const struct ipaddr *peer,
			struct smtp_params **out)
{
	struct arena *a = arena_create();
	struct val merged = val_obj();
	overlay(a, &merged, opts, local, peer, 0);
	overlay(a, &merged, extra, local, peer, 0);
	int rc = smtp_params_parse(&merged, out);
	arena_destroy(&a);
	return rc;
}

bool smtp_params_is_uniform(const struct val *opts)
{
	return val_get(opts, SLICE("peer")) == NULL && val_get(opts, SLICE("via")) == NULL;
}

struct smtp_params *smtp_params_ref(struct smtp_params *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

void smtp_params_unref(struct smtp_params **p)
{
	struct smtp_params *x = *p;
	*p = NULL;
	if (x == NULL || atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
		return;
	arena_destroy(&x->arena);
	free(x);
}

bool smtp_params_relays_for(const struct smtp_params *p, const struct ipaddr *peer)
{
	const struct cidr *nets = p->relay_hosts.items;
	for (size_t i = 0; i < p->relay_hosts.n; i++)
		if (cidr_has(&nets[i], peer))
			return true;
	return false;
}
