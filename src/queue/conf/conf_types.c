/* SPDX-License-Identifier: Apache-2.0 */
/* conf_types - readers and printers of the values that several configuration tables share. */
#include "queue/conf/config.h"
#include "base/timefmt.h"
#include <stdlib.h>

const struct opt_choice CONF_REFRESH_CHOICES[] = { { "Ttl", REFRESH_TTL }, { "Epoch", REFRESH_EPOCH }, { NULL, 0 } };
const struct opt_choice CONF_WAKEUP_CHOICES[] = { { "Aggressive", WAKEUP_AGGRESSIVE }, { "Relaxed", WAKEUP_RELAXED }, { NULL, 0 } };
const struct opt_choice CONF_SHRINK_CHOICES[] = { { "ShrinkDataAndMeta", SHRINK_DATA_AND_META }, { "ShrinkData", SHRINK_DATA },
						  { "NoShrink", SHRINK_NONE }, { NULL, 0 } };
const struct opt_desc CONF_RATE_ELEM = { .name = "throttle", .size = sizeof(struct rate_spec), .custom = opt_read_rate, .custom_print = opt_print_rate };
const struct opt_desc CONF_LIMIT_ELEM = { .name = "limit", .size = sizeof(struct limit_spec), .custom = opt_read_limit, .custom_print = opt_print_limit };

static struct val val_from_buf(struct arena *a, struct buf *b)
{
	struct val v = val_str(a, buf_view(b));
	buf_fini(b);
	return v;
}

void conf_print_str(struct arena *a, const void *in, struct val *out)
{
	const struct slice *s = in;
	*out = s->ptr ? val_str(a, *s) : val_null();
}

void conf_print_duration(struct arena *a, int64_t ns, struct val *out)
{
	struct buf b = { 0 };
	duration_put(&b, ns);
	*out = val_from_buf(a, &b);
}

int conf_read_ip(struct opt_ctx *c, const struct val *in, void *out)
{
	if (in->type != VAL_STR)
		return opt_fail_type(c, in, "IP address");
	if (ipaddr_parse(in->s, out) < 0 || (in->s.len > 0 && in->s.ptr[0] == '['))
		return opt_error(c, "invalid IP address syntax, in \"%.*s\"", (int)MIN(in->s.len, (size_t)200), in->s.ptr);
	return 0;
}

void conf_print_ip(struct arena *a, const void *in, struct val *out)
{
	const struct ipaddr *ip = in;
	struct buf b = { 0 };
	if (!ip->family) {
		*out = val_null();
		return;
	}
	ipaddr_put(&b, ip);
	*out = val_from_buf(a, &b);
}

/* "ip:port", "[ip6]:port", "/socket" or "host:port"; kept as text because names are resolved when connecting. */
int conf_read_sockaddr(struct opt_ctx *c, const struct val *in, void *out)
{
	struct netaddr na;
	struct slice s = in->type == VAL_STR ? in->s : SLICE_NONE;
	ptrdiff_t colon = slice_rchr(s, ':');
	uint64_t port;

	if (in->type == VAL_STR && s.len > 0 && s.ptr[0] == '/' && netaddr_parse(s, 0, &na) == 0)
		goto ok;
	if (in->type != VAL_STR || colon <= 0 || slice_to_u64(slice_sub(s, colon + 1, SIZE_MAX), &port) < 0 || port > 65535)
		return opt_fail(c, in, "a socket address: IP:port, the absolute path of a unix domain socket, or host:port");
	if (slice_chr(slice_sub(s, 0, colon), ':') >= 0 && netaddr_parse(s, 0, &na) < 0)
		return opt_fail(c, in, "a socket address; IPv6 addresses go into brackets");
ok:
	*(struct slice *)out = s;
	return 0;
}

/* --- sets of networks --- */

static int cidr_cmp(const void *pa, const void *pb)
{
	const struct cidr *a = pa, *b = pb;
	if (a->net.family != b->net.family)
		return a->net.family - b->net.family;
	int d = memcmp(a->net.bytes, b->net.bytes, sizeof(a->net.bytes));
	return d ? d : a->bits - b->bits;
}

/* Whether B is the other half of a network one bit wider, A being its lower half. */
static bool cidr_siblings(const struct cidr *a, const struct cidr *b)
{
	struct cidr wide = *a;
	if (a->net.family != b->net.family || a->bits != b->bits || a->bits == 0)
		return false;
	wide.bits--;
	unsigned bit = wide.bits;
	if (a->net.bytes[bit / 8] & (0x80 >> bit % 8))
		return false;
	return cidr_has(&wide, &b->net) && memcmp(a->net.bytes, b->net.bytes, sizeof(a->net.bytes)) != 0;
}

static void cidr_set_normalize(struct cidr_set *s)
{
	size_t n = 0;
	qsort(s->items, s->n, sizeof(*s->items), cidr_cmp);
	for (size_t i = 0; i < s->n; i++) {
		struct cidr c = s->items[i];
		if (n > 0 && s->items[n - 1].net.family == c.net.family && cidr_has(&s->items[n - 1], &c.net))
			continue;
		while (n > 0 && cidr_siblings(&s->items[n - 1], &c)) {
			c = s->items[--n];
			c.bits--;
		}
		s->items[n++] = c;
	}
	s->n = n;
}

int conf_read_cidr_set(struct opt_ctx *c, const struct val *in, void *out)
{
	struct cidr_set *set = out;
	if (in->type != VAL_LIST && !(in->type == VAL_OBJ && in->n == 0))
		return opt_fail(c, in, "a list of networks in CIDR notation");
	size_t n = in->type == VAL_LIST ? in->n : 0;
	set->items = arena_alloc(opt_arena(c), (n ? n : 1) * sizeof(*set->items));
	for (set->n = 0; set->n < n; set->n++) {
		const struct val *e = &in->items[set->n];
		if (e->type != VAL_STR)
			return opt_fail_type(c, e, "a network in CIDR notation");
		if (cidr_parse(e->s, &set->items[set->n]) < 0)
			return opt_error(c, "%.*s: %s", SLICE_ARG(e->s), arena_strdup(opt_arena(c), slice_from_cstr(err_text())));
	}
	cidr_set_normalize(set);
	return 0;
}

void conf_print_cidr_set(struct arena *a, const void *in, struct val *out)
{
	const struct cidr_set *s = in;
	*out = val_list();
	for (size_t i = 0; i < s->n; i++) {
		struct buf b = { 0 };
		const struct cidr *c = &s->items[i];
		if (c->bits == (c->net.family == 4 ? 32 : 128))
			ipaddr_put(&b, &c->net);
		else
			cidr_put(&b, c);
		val_push(a, out, val_from_buf(a, &b));
	}
}

bool cidr_set_has(const struct cidr_set *s, const struct ipaddr *a)
{
	for (size_t i = 0; i < s->n; i++)
		if (cidr_has(&s->items[i], a))
			return true;
	return false;
}

/* --- keys and TLS names --- */

void conf_print_key_source(struct arena *a, const void *in, struct val *out)
{
	const struct val *ks = *(const struct val *const *)in;
	if (!ks) {
		*out = val_null();
		return;
	}
	*out = val_copy(a, ks);
	const struct val *data = val_get_lit(ks, "key_data");
	if (data && data->type == VAL_STR) {	/* a key is octets: upstream shows it as a list of them */
		struct val list = val_list();
		for (size_t i = 0; i < data->s.len; i++)
			val_push(a, &list, val_int((unsigned char)data->s.ptr[i]));
		val_put_lit(a, out, "key_data", list);
	}
}

static const char *const OPENSSL_OPTIONS[] = { "ALL", "NO_QUERY_MTU", "COOKIE_EXCHANGE", "NO_TICKET", "NO_SESSION_RESUMPTION_ON_RENEGOTIATION",
	"NO_COMPRESSION", "ALLOW_UNSAFE_LEGACY_RENEGOTIATION", "SINGLE_ECDH_USE", "SINGLE_DH_USE", "CIPHER_SERVER_PREFERENCE", "TLS_ROLLBACK_BUG",
	"NO_SSLV2", "NO_SSLV3", "NO_TLSV1", "NO_TLSV1_1", "NO_TLSV1_2", "NO_TLSV1_3", "NO_DTLSV1", "NO_DTLSV1_2", "NO_SSL_MASK",
	"NO_RENEGOTIATION", "ENABLE_MIDDLEBOX_COMPAT", "PRIORITIZE_CHACHA", "DONT_INSERT_EMPTY_FRAGMENTS", NULL };
static const char *const RUSTLS_SUITES[] = { "TLS13_AES_256_GCM_SHA384", "TLS13_AES_128_GCM_SHA256", "TLS13_CHACHA20_POLY1305_SHA256",
	"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
	"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", NULL };

static bool name_in(struct slice s, const char *const *names)
{
	for (; *names; names++)
		if (slice_eq_nocase(s, slice_from_cstr(*names)))
			return true;
	return false;
}

int conf_read_openssl_options(struct opt_ctx *c, const struct val *in, void *out)
{
	struct slice rest = in->type == VAL_STR ? in->s : SLICE_NONE, part;
	if (in->type != VAL_STR)
		return opt_fail(c, in, "names of OpenSSL options joined by `|`");
	while (slice_split_next(&rest, '|', &part))
		if (!name_in(part, OPENSSL_OPTIONS))
			return opt_fail(c, in, "names of OpenSSL options joined by `|` (`%.*s` is none)", SLICE_ARG(part));
	*(struct slice *)out = in->s;
	return 0;
}

int conf_read_rustls_suites(struct opt_ctx *c, const struct val *in, void *out)
{
	struct opt_list *l = out;
	if (in->type != VAL_LIST && !(in->type == VAL_OBJ && in->n == 0))
		return opt_fail(c, in, "a list of cipher suite names");
	size_t n = in->type == VAL_LIST ? in->n : 0;
	struct slice *names = arena_alloc(opt_arena(c), (n ? n : 1) * sizeof(*names));
	for (size_t i = 0; i < n; i++) {
		if (in->items[i].type != VAL_STR || !name_in(in->items[i].s, RUSTLS_SUITES))
			return opt_fail(c, &in->items[i], "the name of a TLS cipher suite");
		names[i] = in->items[i].s;
	}
	l->n = n;
	l->items = names;
	return 0;
}
