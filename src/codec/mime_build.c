/* SPDX-License-Identifier: Apache-2.0 */
/* New parts, whole messages, and parts written anew. */
#include "base/encode.h"
#include "base/uuid.h"
#include "base/utf8.h"
#include "codec/charset.h"
#include "codec/mime.h"

#define STABLE_DATE "Tue, 1 Jul 2003 10:52:37 +0200"

static struct mime_part *new_part(struct mime_doc *d)
{
	return arena_alloc(d->arena, sizeof(struct mime_part));
}

static void set_params(struct mime_doc *d, struct mime_part *p, const char *name, const struct mime_params *params)
{
	struct buf b = { 0 };
	mime_params_put(&b, params);
	mime_header_set(d, p, slice_from_cstr(name), buf_view(&b));
	buf_fini(&b);
}

static void set_body(struct mime_doc *d, struct mime_part *p, struct buf *b)
{
	if (!slice_ends(buf_view(b), SLICE("\r\n")))
		buf_lit(b, "\r\n");
	p->body = arena_dup(d->arena, buf_view(b));
	buf_fini(b);
}

/* Quoted-printable, unless base64 is shorter or nothing needs encoding. */
static void fill_text(struct mime_doc *d, struct mime_part *p, struct slice type, struct slice content)
{
	struct mime_params ct = { .value = type };
	struct buf b = { 0 };
	const char *encoding = NULL;

	mime_params_set(&ct, d->arena, SLICE("charset"), utf8_is_ascii(content) ? SLICE("us-ascii") : SLICE("utf-8"));
	set_params(d, p, "Content-Type", &ct);
	qp_encode(&b, content);
	if (!slice_eq(buf_view(&b), content)) {
		encoding = "quoted-printable";
		if (b.len > (content.len + 2) / 3 * 4 + (content.len + 56) / 57 * 2) {
			encoding = "base64";
			buf_clear(&b);
			mime_base64_put(&b, content);
		}
		mime_header_set(d, p, SLICE("Content-Transfer-Encoding"), slice_from_cstr(encoding));
	}
	set_body(d, p, &b);
}

struct mime_part *mime_new_text(struct mime_doc *d, struct slice type, struct slice content)
{
	struct mime_part *p = new_part(d);
	fill_text(d, p, type, content);
	return p;
}

static void add_name(struct mime_doc *d, struct mime_params *p, struct slice name)
{
	mime_params_set(p, d->arena, SLICE("name"), name);
	/* what many readers understand, although RFC 2047 forbids it */
	if (!utf8_is_ascii(name))
		p->params[p->n - 1].encoding = MIME_PARAM_QUOTED_WORD;
}

struct mime_part *mime_new_binary(struct mime_doc *d, struct slice type, struct slice content, const struct mime_attachment *opts)
{
	struct mime_part *p = new_part(d);
	struct mime_params ct = { .value = type };
	struct buf b = { 0 };

	if (opts != NULL && opts->given) {
		struct mime_params cd = { .value = opts->is_inline ? SLICE("inline") : SLICE("attachment") };
		if (opts->file_name.ptr != NULL) {
			mime_params_set(&cd, d->arena, SLICE("filename"), opts->file_name);
			add_name(d, &ct, opts->file_name);
		}
		set_params(d, p, "Content-Disposition", &cd);
		if (opts->content_id.ptr != NULL) {
			buf_printf(&b, "<%.*s>", SLICE_ARG(opts->content_id));
			mime_header_set(d, p, SLICE("Content-ID"), buf_view(&b));
			buf_clear(&b);
		}
	}
	set_params(d, p, "Content-Type", &ct);
	mime_header_set(d, p, SLICE("Content-Transfer-Encoding"), SLICE("base64"));
	mime_base64_put(&b, content);
	set_body(d, p, &b);
	return p;
}

struct mime_part *mime_new_multipart(struct mime_doc *d, struct slice type, struct slice boundary)
{
	struct mime_part *p = new_part(d);
	struct mime_params ct = { .value = type };
	struct buf b = { 0 };
	if (boundary.ptr == NULL) {
		struct uuid u = uuid_v4();
		base64_put(&b, slice_new(u.bytes, sizeof u.bytes), BASE64_STD_NOPAD);
		boundary = buf_view(&b);
	}
	mime_params_set(&ct, d->arena, SLICE("boundary"), boundary);
	set_params(d, p, "Content-Type", &ct);
	buf_fini(&b);
	return p;
}

/* The fields that say how a body is encoded go to the end, as the new ones. Content-Disposition stays. */
static void take_body(struct mime_doc *d, struct mime_part *p, const struct mime_part *from)
{
	mime_header_remove(p, SLICE("Content-Type"));
	mime_header_remove(p, SLICE("Content-Transfer-Encoding"));
	for (uint32_t i = 0; i < from->n_headers; i++)
		mime_header_append(d, p, from->headers[i].name, from->headers[i].value);
	p->body = from->body;
	p->intro = p->outro = SLICE_NONE;
	p->n_parts = 0;
}

void mime_replace_text(struct mime_doc *d, struct mime_part *p, struct slice type, struct slice content)
{
	take_body(d, p, mime_new_text(d, type, content));
}

void mime_replace_binary(struct mime_doc *d, struct mime_part *p, struct slice type, struct slice content)
{
	take_body(d, p, mime_new_binary(d, type, content, NULL));
}

/* --- the builder ------------------------------------------------------------------------------------------------------------- */

void mime_builder_init(struct mime_builder *b)
{
	*b = (struct mime_builder){ .doc = mime_doc_create() };
	b->headers = new_part(b->doc);
}

void mime_builder_fini(struct mime_builder *b)
{
	mime_doc_unref(&b->doc);
}

static void push(struct arena *a, struct mime_part ***list, uint32_t *n, uint32_t *cap, struct mime_part *p)
{
	if (*n == *cap) {
		struct mime_part **old = *list;
		*cap = *cap ? *cap * 2 : 4;
		*list = arena_alloc(a, *cap * sizeof(struct mime_part *));
		if (*n > 0)
			memcpy(*list, old, *n * sizeof(struct mime_part *));
	}
	(*list)[(*n)++] = p;
}

void mime_builder_attach(struct mime_builder *b, struct mime_part *p)
{
	struct mime_info info;
	mime_info(p, b->doc->arena, &info);
	if (info.is_inline)
		push(b->doc->arena, &b->inline_parts, &b->n_inline, &b->cap_inline, p);
	else
		push(b->doc->arena, &b->attached, &b->n_attached, &b->cap_attached, p);
}

/* FIRST and the parts of LIST under one multipart. */
static struct mime_part *combine(struct mime_builder *b, struct slice type, struct slice stable_boundary, struct mime_part *first,
				 struct mime_part **list, uint32_t n)
{
	struct mime_part *m = mime_new_multipart(b->doc, type, b->stable ? stable_boundary : SLICE_NONE);
	mime_append_part(b->doc, m, first);
	for (uint32_t i = 0; i < n; i++)
		mime_append_part(b->doc, m, list[i]);
	return m;
}

/* Plain text first, plain HTML last: some readers show only the last alternative, and that must not be AMP's. */
static int build_content(struct mime_builder *b, struct mime_part **out)
{
	struct mime_part *list[3];
	uint32_t n = 0;
	if (b->text == NULL && b->html == NULL && b->amp_html == NULL)
		return err_set(E_INVAL, "Error building message: no text or html part was specified");
	if (b->text == NULL && b->html == NULL)
		return err_set(E_INVAL, "Error building message: the AMP email spec requires at least one non-amp part to be present in the message");
	if (b->text != NULL)
		list[n++] = b->text;
	if (b->amp_html != NULL)
		list[n++] = b->amp_html;
	if (b->html != NULL)
		list[n++] = b->html;
	*out = n == 1 ? list[0] : combine(b, SLICE("multipart/alternative"), SLICE("ma-boundary"), list[0], list + 1, n - 1);
	return 0;
}

static void add_date(struct mime_doc *d, struct mime_part *p, int64_t us)
{
	struct arena *a = arena_create();
	struct val v = val_obj();
	struct buf b = { 0 };
	val_put_lit(a, &v, "us", val_int(us));
	if (mail_put_kind(&b, MAIL_DATE, &v) == 0)
		mime_header_set(d, p, SLICE("Date"), buf_view(&b));
	buf_fini(&b);
	arena_destroy(&a);
}

int mime_build(struct mime_builder *b, int64_t now_us)
{
	struct mime_part *root;
	int rc = build_content(b, &root);
	if (rc < 0)
		return rc;
	if (b->n_inline > 0)
		root = combine(b, SLICE("multipart/related"), SLICE("mr-boundary"), root, b->inline_parts, b->n_inline);
	if (b->n_attached > 0)
		root = combine(b, SLICE("multipart/mixed"), SLICE("mm-boundary"), root, b->attached, b->n_attached);
	for (uint32_t i = 0; b->headers != NULL && i < b->headers->n_headers; i++)
		mime_header_append(b->doc, root, b->headers->headers[i].name, b->headers->headers[i].value);
	if (mime_header_find(root, "Mime-Version") == NULL)
		mime_header_append(b->doc, root, SLICE("Mime-Version"), SLICE("1.0"));
	if (mime_header_find(root, "Date") == NULL) {
		if (b->stable)
			mime_header_append(b->doc, root, SLICE("Date"), SLICE(STABLE_DATE));
		else
			add_date(b->doc, root, now_us);
	}
	b->doc->root = root;
	return 0;
}

/* --- rebuilding ----------------------------------------------------------------------------------------------------------------- */

struct rebuild {
	struct mime_doc *doc;
	struct arena *scratch;
	const struct mime_fix *fix;
};

static bool allowed(const struct mime_fix *f, struct slice charset)
{
	bool ok = f->n_include == 0;
	for (uint32_t i = 0; i < f->n_include; i++)
		ok |= slice_eq_nocase(f->include[i], charset);
	for (uint32_t i = 0; i < f->n_exclude; i++)
		ok &= !slice_eq_nocase(f->exclude[i], charset);
	return ok;
}

/* BYTES as UTF-8 from the charset that they most likely are in, among those that the caller allows. */
static bool guess_text(const struct mime_fix *f, struct slice bytes, struct buf *out)
{
	char name[32];
	if (charset_guess(bytes, name) && allowed(f, slice_from_cstr(name)) && charset_to_utf8(slice_from_cstr(name), bytes, out) == 0)
		return true;
	for (uint32_t i = 0; i < f->n_include; i++)
		if (allowed(f, f->include[i]) && charset_to_utf8(f->include[i], bytes, out) == 0)
			return true;
	return false;
}

static struct mime_part *rebuild_leaf(struct rebuild *r, const struct mime_part *p, const struct mime_info *info, int *rc)
{
	struct slice body;
	bool is_text;
	struct mime_part *out;
	struct buf guessed = { 0 };

	if ((*rc = mime_body(p, r->scratch, &body, &is_text)) < 0)
		return NULL;
	if (!is_text && info->is_text && r->fix != NULL && r->fix->detect_encoding && guess_text(r->fix, body, &guessed)) {
		body = arena_dup(r->scratch, buf_view(&guessed));
		is_text = true;
	}
	buf_fini(&guessed);
	if (is_text) {
		out = mime_new_text(r->doc, info->has_type ? info->type.value : SLICE("text/plain"), body);
	} else {
		struct mime_attachment opts = { info->is_attachment, info->file_name, info->content_id, info->is_inline };
		out = mime_new_binary(r->doc, info->has_type ? info->type.value : SLICE("application/octet-stream"), body, &opts);
	}
	return out;
}

/* Parameters of FROM that the rebuilt field lacks. */
static void merge_params(struct rebuild *r, struct mime_part *p, const char *name, struct slice from, int (*parse)(struct slice, struct arena *, struct mime_params *))
{
	const struct mail_header *h = mime_header_find(p, name);
	struct mime_params old, now;
	struct slice v;
	bool added = false;
	if (h == NULL || parse(from, r->scratch, &old) < 0 || parse(h->value, r->scratch, &now) < 0)
		return;
	for (uint32_t i = 0; i < old.n; i++) {
		if (mime_params_get(&now, old.params[i].name, r->scratch, &v) || !mime_params_get(&old, old.params[i].name, r->scratch, &v))
			continue;
		mime_params_set(&now, r->scratch, old.params[i].name, v);
		added = true;
	}
	if (added)
		set_params(r->doc, p, name, &now);
}

static bool merge_mime_field(struct rebuild *r, struct mime_part *p, const struct mail_header *h)
{
	if (slice_eq_nocase(h->name, SLICE("Content-ID")))
		return true;
	if (slice_eq_nocase(h->name, SLICE("Content-Type")))
		merge_params(r, p, "Content-Type", h->value, mime_parse_content_type);
	else if (slice_eq_nocase(h->name, SLICE("Content-Transfer-Encoding")))
		merge_params(r, p, "Content-Transfer-Encoding", h->value, mime_parse_token_params);
	else if (slice_eq_nocase(h->name, SLICE("Content-Disposition")))
		merge_params(r, p, "Content-Disposition", h->value, mime_parse_token_params);
	else
		return false;
	return true;
}

/* A field written anew by what it is; one that does not parse is left out, there is no right form for it. */
static void rebuild_field(struct rebuild *r, struct mime_part *p, const struct mail_header *h)
{
	const struct mail_field *f = mail_field_find(h->name);
	enum mail_kind kind = f != NULL && f->kind != MAIL_AUTH_RESULTS ? f->kind : MAIL_UNSTRUCTURED;
	struct buf b = { 0 };
	struct val v;
	if (mail_parse_kind(kind, h->value, r->scratch, &v) == 0 && mail_put_kind(&b, kind, &v) == 0)
		mime_header_append(r->doc, p, f != NULL ? slice_from_cstr(f->name) : h->name, buf_view(&b));
	buf_fini(&b);
}

static struct mime_part *rebuild_part(struct rebuild *r, const struct mime_part *p, unsigned depth, int *rc)
{
	struct mime_info info;
	struct mime_part *out;
	struct slice boundary = SLICE_NONE;

	mime_info(p, r->scratch, &info);
	if (p->n_parts == 0 || depth > MIME_DEPTH_MAX * 2) {
		if ((out = rebuild_leaf(r, p, &info, rc)) == NULL)
			return NULL;
	} else {
		if (!info.has_type) {
			*rc = err_set(E_INVAL, "parsing body: multipart message has no content-type information!?");
			return NULL;
		}
		mime_params_get(&info.type, SLICE("boundary"), r->scratch, &boundary);
		out = mime_new_multipart(r->doc, info.type.value, boundary);
		for (uint32_t i = 0; i < p->n_parts; i++) {
			struct mime_part *child = rebuild_part(r, p->parts[i], depth + 1, rc);
			if (child == NULL)
				return NULL;
			mime_append_part(r->doc, out, child);
		}
	}
	for (uint32_t i = 0; i < p->n_headers; i++)
		if (!merge_mime_field(r, out, &p->headers[i]))
			rebuild_field(r, out, &p->headers[i]);
	return out;
}

int mime_rebuild(const struct mime_part *p, const struct mime_fix *fix, struct mime_doc **out)
{
	int rc = 0;
	struct rebuild r = { .doc = mime_doc_create(), .scratch = arena_create(), .fix = fix };
	struct mime_part *root = rebuild_part(&r, p, 0, &rc);
	arena_destroy(&r.scratch);
	if (root == NULL) {
		mime_doc_unref(&r.doc);
		return rc;
	}
	r.doc->root = root;
	*out = r.doc;
	return 0;
}

/* --- checking ---------------------------------------------------------------------------------------------------------------------- */

static unsigned check_part(const struct mime_part *p, unsigned depth)
{
	unsigned bad = p->conformance;
	if (p->n_parts == 0) {
		struct arena *a = arena_create();
		struct mime_info info;
		struct slice body;
		bool is_text;
		mime_info(p, a, &info);
		/* text that is not in the charset that it names */
		if (mime_body(p, a, &body, &is_text) < 0 || (info.is_text && !is_text))
			bad |= MAIL_NEEDS_TRANSFER_ENCODING;
		arena_destroy(&a);
	}
	for (uint32_t i = 0; i < p->n_parts && depth < MIME_DEPTH_MAX * 2; i++)
		bad |= check_part(p->parts[i], depth + 1);
	return bad;
}

unsigned mime_check(const struct mime_part *p)
{
	return check_part(p, 0);
}

#define MISSING_HEADERS (MAIL_MISSING_DATE_HEADER | MAIL_MISSING_MESSAGE_ID_HEADER | MAIL_MISSING_MIME_VERSION)

static void add_missing(struct mime_doc *d, unsigned missing, const struct mime_fix *how)
{
	if (missing & MAIL_MISSING_DATE_HEADER)
		add_date(d, d->root, how->now_us);
	if (missing & MAIL_MISSING_MIME_VERSION)
		mime_header_set(d, d->root, SLICE("Mime-Version"), SLICE("1.0"));
	if ((missing & MAIL_MISSING_MESSAGE_ID_HEADER) && how->message_id.len > 0) {
		struct buf b = { 0 };
		buf_printf(&b, "<%.*s>", SLICE_ARG(how->message_id));
		mime_header_set(d, d->root, SLICE("Message-ID"), buf_view(&b));
		buf_fini(&b);
	}
}

/* The whole message read again from a guessed charset, then rebuilt. */
static int rebuild_guessed(struct mime_doc *doc, struct slice bytes, unsigned to_fix, const struct mime_fix *how, struct mime_doc **out)
{
	struct buf text = { 0 };
	struct mime_doc *again = NULL;
	int rc;
	if (how->detect_encoding && (to_fix & MAIL_NEEDS_TRANSFER_ENCODING) && guess_text(how, bytes, &text) && mime_parse(buf_view(&text), &again) == 0)
		doc = again;
	buf_fini(&text);
	rc = mime_rebuild(doc->root, how, out);
	mime_doc_unref(&again);
	return rc;
}

int mime_check_fix(struct mime_doc *doc, struct slice bytes, unsigned check, unsigned fix, const struct mime_fix *how, struct mime_doc **out)
{
	unsigned bad = mime_check(doc->root), to_fix = fix & bad;
	int rc;

	*out = NULL;
	if (check & bad & ~fix) {
		struct buf b = { 0 };
		mail_conformance_put(&b, check & bad & ~fix);
		err_set(E_REJECT, "Message has conformance issues: %s", buf_cstr(&b));
		buf_fini(&b);
		return -E_REJECT;
	}
	if (to_fix == 0)
		return 0;
	if (to_fix & ~MISSING_HEADERS) {
		if ((rc = rebuild_guessed(doc, bytes, to_fix, how, out)) < 0)
			return rc;
	} else {
		*out = mime_doc_create();
		(*out)->root = mime_copy(*out, doc->root);
	}
	add_missing(*out, to_fix & MISSING_HEADERS, how);
	return 0;
}
