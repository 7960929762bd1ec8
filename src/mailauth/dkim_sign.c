/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include "base/arena.h"
#include "base/encode.h"
#include "base/xalloc.h"
#include "mailauth/dkim_sign.h"
#include "rt/clock.h"
#include "rt/metrics.h"

#define SIGNER_MAGIC OBJ_MAGIC('S', 'I', 'G', 'N')
#define WIDTH 75
#define TAGS_MAX 16
#define HEADERS_MAX 4096	/* fields of a message that are looked at */

/* --- the signer ----------------------------------------------------------------------------------------------------------- */

static struct slice lower(struct arena *a, struct slice s)
{
	char *p = arena_strdup(a, s);
	for (size_t i = 0; i < s.len; i++)
		p[i] = ascii_lower(p[i]);
	return slice_new(p, s.len);
}

/* Domains come from messages: what would end a tag or the field is none. */
static bool is_tag_text(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 127 || s.ptr[i] == ';')
			return false;
	return s.len > 0;
}

static int check_texts(const struct dkim_signer_opts *o)
{
	if (!is_tag_text(o->domain) || !is_tag_text(o->selector))
		return err_set(E_INVAL, "no signature can hold the domain `%.*s` and the selector `%.*s`: they are empty, or have white space, control characters or `;`",
			       SLICE_ARG(o->domain), SLICE_ARG(o->selector));
	for (uint32_t i = 0; i < o->n_headers; i++)
		if (!is_tag_text(o->headers[i]) || slice_chr(o->headers[i], ':') >= 0)
			return err_set(E_INVAL, "configure signed headers: `%.*s` is no name of a header field", SLICE_ARG(o->headers[i]));
	return 0;
}

int dkim_signer_create(const struct dkim_signer_opts *o, struct tls_key *key, struct dkim_signer **out)
{
	bool from = false;
	for (uint32_t i = 0; i < o->n_headers; i++)
		from |= slice_eq_nocase(o->headers[i], SLICE("From"));
	if (!from)
		return err_set(E_INVAL, "configure signed headers: failed to build object: missing From in signed headers");
	if (check_texts(o) < 0)
		return -E_INVAL;
	if (tls_key_kind(key) == TLS_KEY_OTHER)
		return err_set(E_INVAL, "a DKIM key must be RSA or Ed25519");
	struct dkim_signer *s = xzalloc(sizeof *s);
	OBJ_INIT(s, SIGNER_MAGIC);
	s->refs = 1;
	s->key = tls_key_ref(key);
	s->arena = arena_create();
	s->domain = arena_dup(s->arena, o->domain);
	s->selector = arena_dup(s->arena, o->selector);
	s->n_headers = o->n_headers;
	s->headers = arena_alloc(s->arena, o->n_headers * sizeof *s->headers);
	for (uint32_t i = 0; i < o->n_headers; i++)
		s->headers[i] = lower(s->arena, o->headers[i]);
	s->header_canon = o->header_canon;
	s->body_canon = o->body_canon;
	s->over_sign = o->over_sign;
	s->expiration_s = o->expiration_s;
	*out = s;
	return 0;
}

struct dkim_signer *dkim_signer_ref(struct dkim_signer *s)
{
	OBJ_CHECK(s, SIGNER_MAGIC);
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void dkim_signer_unref(struct dkim_signer **sp)
{
	struct dkim_signer *s = *sp;
	*sp = NULL;
	if (s == NULL)
		return;
	OBJ_CHECK(s, SIGNER_MAGIC);
	if (atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	OBJ_FINI(s, SIGNER_MAGIC);
	tls_key_unref(&s->key);
	arena_destroy(&s->arena);
	free(s);
}

/* --- layout of the field ------------------------------------------------------------------------------------------------------ */

struct layout {
	struct buf *out;
	size_t line;	/* where the line begun */
};

static size_t column(const struct layout *l)
{
	return l->out->len - l->line;
}

static void new_line(struct layout *l)
{
	buf_lit(l->out, "\r\n\t");
	l->line = l->out->len;
}

/* The names of h=, broken at a colon. */
static void put_names(struct layout *l, struct slice value)
{
	struct slice name;
	for (bool first = true; slice_split_next(&value, ':', &name); first = false) {
		if (!first)
			buf_putc(l->out, ':');
		if (column(l) + name.len >= WIDTH) {
			new_line(l);
			buf_putc(l->out, '\t');
		}
		buf_slice(l->out, name);
	}
}

static void put_broken(struct layout *l, struct slice value)
{
	while (value.len > 0) {
		size_t used = column(l), room = used < WIDTH ? WIDTH - used : 1, n = MIN(value.len, room);
		buf_slice(l->out, slice_sub(value, 0, n));
		value = slice_sub(value, n, SIZE_MAX);
		if (column(l) >= WIDTH)
			new_line(l);
	}
}

/* "b" has a line of its own: the text before it must be the same with and without the signature. */
static void put_tag(struct layout *l, const struct dkim_tag *t)
{
	bool is_h = strcmp(t->name, "h") == 0, is_b = strcmp(t->name, "b") == 0;
	size_t need = strlen(t->name) + 2 + t->value.len;
	if (column(l) > 0 && (is_h || is_b || column(l) + need >= WIDTH))
		new_line(l);
	if (column(l) > 0)
		buf_putc(l->out, ' ');
	buf_printf(l->out, "%s=", t->name);
	if (column(l) + t->value.len < WIDTH)
		buf_slice(l->out, t->value);
	else if (is_h)
		put_names(l, t->value);
	else
		put_broken(l, t->value);
	buf_putc(l->out, ';');
}

static void put_tags(struct buf *out, const struct dkim_tag *tags, uint32_t n)
{
	struct layout l = { out, out->len };
	for (uint32_t i = 0; i < n; i++)
		put_tag(&l, &tags[i]);
}

/* --- what is signed -------------------------------------------------------------------------------------------------------------- */

struct job {
	const struct dkim_signer *s;
	struct arena *a;
	struct mail_header *headers;
	uint32_t n_headers;
	struct slice body;
	struct slice *names;		/* the effective list */
	uint32_t n_names;
	struct dkim_tag tags[TAGS_MAX];
	uint32_t n_tags;
};

static int scan(struct job *j, struct slice msg)
{
	struct slice rest = msg;
	struct mail_header h;
	uint32_t cap = 64;
	int rc;

	j->headers = arena_alloc(j->a, cap * sizeof h);
	while ((rc = mail_header_next(&rest, &h)) > 0) {
		if (h.conformance & MAIL_NON_CANONICAL_LINE_ENDINGS)
			break;
		if (j->n_headers == cap) {
			struct mail_header *old = j->headers;
			if ((cap *= 2) > HEADERS_MAX)
				return err_set(E_LIMIT, "the message has over %d header fields", HEADERS_MAX);
			j->headers = arena_alloc(j->a, cap * sizeof h);
			memcpy(j->headers, old, j->n_headers * sizeof h);
		}
		j->headers[j->n_headers++] = h;
	}
	if (rc < 0) {
		err_prefix("failed to parse message to pass to dkim signer");
		return rc;
	}
	if (h.conformance & MAIL_NON_CANONICAL_LINE_ENDINGS)
		return err_set(E_INVAL, "a message to sign must have canonical line endings (CRLF) in its header");
	j->body = rest;
	return 0;
}

static int cmp_names(const void *a, const void *b)
{
	return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* Over-signing: each name once more than the message has it, so that nobody can add another. Sorted, as KumoMTA writes it. */
static void effective_names(struct job *j)
{
	const struct dkim_signer *s = j->s;
	j->names = s->headers;
	j->n_names = s->n_headers;
	if (!s->over_sign)
		return;
	struct slice *sorted = arena_alloc(j->a, s->n_headers * sizeof *sorted);
	memcpy(sorted, s->headers, s->n_headers * sizeof *sorted);
	qsort(sorted, s->n_headers, sizeof *sorted, cmp_names);
	j->names = arena_alloc(j->a, (s->n_headers + j->n_headers) * sizeof *j->names);
	j->n_names = 0;
	for (uint32_t i = 0; i < s->n_headers; i++) {
		if (i > 0 && slice_eq(sorted[i], sorted[i - 1]))
			continue;
		for (uint32_t k = 0; k < j->n_headers; k++)
			if (slice_eq_nocase(j->headers[k].name, sorted[i]))
				j->names[j->n_names++] = sorted[i];
		j->names[j->n_names++] = sorted[i];
	}
}

/* RFC 6376 5.4.2: for each name of the list the lowest field not taken yet; where there is none, nothing. */
static void canon_headers(struct job *j, struct buf *out)
{
	uint8_t *taken = arena_alloc(j->a, j->n_headers + 1);
	for (uint32_t i = 0; i < j->n_names; i++) {
		for (uint32_t k = j->n_headers; k-- > 0;) {
			if (taken[k] || !slice_eq_nocase(j->headers[k].name, j->names[i]))
				continue;
			taken[k] = 1;
			dkim_canon_header(out, j->s->header_canon, &j->headers[k]);
			break;
		}
	}
}

static void add_tag(struct job *j, const char *name, struct slice value)
{
	assert(j->n_tags < TAGS_MAX);
	j->tags[j->n_tags++] = (struct dkim_tag){ name, value };
}

static struct slice body_hash_text(struct job *j, struct dkim_hashes *hashes)
{
	struct dkim_hashes own = { 0 };
	struct buf b = { 0 };
	enum dkim_canon c = j->s->body_canon;
	uint8_t md[TLS_MD_MAX];
	if (hashes == NULL)
		hashes = &own;
	if (!hashes->known[c]) {
		dkim_body_hash(c, TLS_SHA256, j->body, UINT64_MAX, md);
		memcpy(hashes->sha256[c], md, 32);
		hashes->known[c] = true;
	}
	base64_put(&b, slice_new(hashes->sha256[c], 32), BASE64_STD);
	struct slice s = arena_dup(j->a, buf_view(&b));
	buf_fini(&b);
	return s;
}

static struct slice names_text(struct job *j)
{
	struct buf b = { 0 };
	for (uint32_t i = 0; i < j->n_names; i++) {
		if (i > 0)
			buf_putc(&b, ':');
		buf_slice(&b, j->names[i]);
	}
	struct slice s = arena_dup(j->a, buf_view(&b));
	buf_fini(&b);
	return s;
}

static const char *canon_name(enum dkim_canon c)
{
	return c == DKIM_RELAXED ? "relaxed" : "simple";
}

static void make_tags(struct job *j, int64_t now_s, const struct dkim_sign_args *args, struct dkim_hashes *hashes)
{
	const struct dkim_signer *s = j->s;
	for (uint32_t i = 0; i < args->n_extra; i++)
		add_tag(j, args->extra[i].name, args->extra[i].value);
	if (slice_eq_nocase(slice_from_cstr(args->field), SLICE("DKIM-Signature")))
		add_tag(j, "v", SLICE("1"));
	add_tag(j, "a", tls_key_kind(s->key) == TLS_KEY_RSA ? SLICE("rsa-sha256") : SLICE("ed25519-sha256"));
	add_tag(j, "d", s->domain);
	add_tag(j, "s", s->selector);
	if (!args->seal) {
		add_tag(j, "c", arena_slicef(j->a, "%s/%s", canon_name(s->header_canon), canon_name(s->body_canon)));
		add_tag(j, "bh", body_hash_text(j, hashes));
		add_tag(j, "h", names_text(j));
	}
	add_tag(j, "t", arena_slicef(j->a, "%" PRId64, now_s));
	if (s->expiration_s > 0)
		add_tag(j, "x", arena_slicef(j->a, "%" PRId64, now_s + s->expiration_s));
}

/* Signs the canonical fields in TEXT with the field itself (b= empty) behind them; appends the base64 to OUT. */
static int sign_text(struct job *j, const struct dkim_sign_args *args, struct buf *text, struct buf *out)
{
	struct buf field = { 0 }, sig = { 0 };
	uint8_t md[TLS_MD_MAX];
	put_tags(&field, j->tags, j->n_tags);
	dkim_canon_field(text, args->seal ? DKIM_RELAXED : j->s->header_canon, slice_from_cstr(args->field), buf_view(&field));
	size_t n = tls_digest(TLS_SHA256, buf_view(text), md);
	int rc = tls_key_sign(j->s->key, TLS_SHA256, slice_new(md, n), &sig);
	if (rc == 0)
		base64_put(out, buf_view(&sig), BASE64_STD);
	buf_fini(&field);
	buf_fini(&sig);
	return rc;
}

static struct metric_family PARSE = { .name = "dkim_signer_message_parse", .help = "how many seconds reading a message's header took before signing",
				      .kind = METRIC_HISTOGRAM_K, .striped = true };
static struct metric_family SIGN = { .name = "dkim_signer_sign", .help = "how many seconds signing took, body hash and all", .kind = METRIC_HISTOGRAM_K, .striped = true };
static bool counting;
static _Atomic(struct metric *) parse, sign;

void dkim_metrics_register(void)
{
	metric_register(&PARSE);
	metric_register(&SIGN);
	counting = true;
}

/* The time now, for the next step. */
static int64_t observe_since(struct metric_family *f, _Atomic(struct metric *) *at, int64_t begun_us)
{
	int64_t now_us = rt_now_us_exact();
	if (counting)
		metric_observe(metric_lazy(f, at), (double)(now_us - begun_us) / 1e6);
	return now_us;
}

int dkim_sign_as(const struct dkim_signer *s, struct slice msg, int64_t now_s, const struct dkim_sign_args *args, struct dkim_hashes *hashes,
		 struct buf *out)
{
	OBJ_CHECK(s, SIGNER_MAGIC);
	struct job j = { .s = s, .a = arena_create() };
	struct buf text = { 0 }, sig = { 0 };
	int64_t begun_us = rt_now_us_exact();
	int rc = scan(&j, msg);

	if (rc == 0) {
		begun_us = observe_since(&PARSE, &parse, begun_us);
		effective_names(&j);
		make_tags(&j, now_s, args, hashes);
		add_tag(&j, "b", SLICE(""));
		if (args->seal)
			for (uint32_t i = 0; i < args->n_sealed; i++)
				dkim_canon_header(&text, DKIM_RELAXED, &args->sealed[i]);
		else
			canon_headers(&j, &text);
		rc = sign_text(&j, args, &text, &sig);
	}
	if (rc == 0) {
		j.tags[j.n_tags - 1].value = buf_view(&sig);
		put_tags(out, j.tags, j.n_tags);
		(void)observe_since(&SIGN, &sign, begun_us);
	}
	buf_fini(&text);
	buf_fini(&sig);
	arena_destroy(&j.a);
	return rc;
}

int dkim_sign(const struct dkim_signer *s, struct slice msg, int64_t now_s, struct dkim_hashes *hashes, struct buf *out)
{
	static const struct dkim_sign_args ARGS = { .field = "DKIM-Signature" };
	return dkim_sign_as(s, msg, now_s, &ARGS, hashes, out);
}
