/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP requests against the cases of llhttp and gunicorn. Each is read whole and a byte more at a time; both must end the same way. What
 * is wanted and what is found are compared as text, one request after another: "METHOD target 1.1", "name: value" lines, "= body".
 *
 * An input that they refuse may leave us waiting for more instead: nothing is answered then.
 */
#include "base/encode.h"
#include "codec/http1.h"
#include "suite.h"

#define LIMIT "our limits are higher"
#define OTHER "is of another protocol"
static const struct suite_exception EXCEPTIONS[] = {
	{ "invalid/006", LIMIT }, { "invalid/007", LIMIT }, { "invalid/008", LIMIT }, { "invalid/017", LIMIT },
	{ "invalid/003c", "a method is a token, known or not: 405 is said later" },
	{ "llhttp/invalid.md#14", "the same" },
	{ "invalid/016", "the host of an absolute target is not looked at" },
	{ "invalid/041", "Content-Type may come twice: the first counts" },
	{ "invalid/rfc9110_trailer_forbidden_cl_01", "trailers are read and forgotten, whatever they are" },
	{ "invalid/rfc9110_trailer_forbidden_host_01", "the same" },
	{ "invalid/rfc9110_trailer_forbidden_te_01", "the same" },
	{ "llhttp/transfer-encoding.md#6", "the same" },
	{ "invalid/rfc9112_smuggle_cl_te_chunked_01", "RFC 9112 6.3: the length is ignored, and the connection ends" },
	{ "valid/009", "RFC 9112 7 has no coding identity any more" },
	{ "valid/040", "fields with an underscore are kept: no environment variables are made of them" },
	{ "llhttp/transfer-encoding.md#9", "chunk extensions are skipped, whatever they are" },
	{ "llhttp/invalid.md#18", "RFC 9112 2.2: a bare LF ends a line" },
	{ "llhttp/uri.md#7", "UTF-8 in targets is taken, as KumoMTA does" },
	{ "llhttp/method.md#4", "we are no proxy: CONNECT has a body as any other method" },
	{ "llhttp/method.md#5", OTHER }, { "llhttp/sample.md#10", OTHER }, { "llhttp/method.md#12", OTHER }, { "llhttp/method.md#13", OTHER }, { "llhttp/method.md#14", OTHER },
	{ "llhttp/invalid.md#4", "the method is another protocol's: 405 is said later" },
	{ NULL }
};

static struct suite S = { .exceptions = EXCEPTIONS };

enum ending { END_ALL, END_WAITING, END_REFUSED, END_CLOSED };
static const char *const ENDING[] = { "all read", "waiting for more", "refused", "closed" };

/* --- reading ---------------------------------------------------------------------------------------------------------------------- */

static void put_lower(struct buf *b, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		buf_putc(b, ascii_lower(s.ptr[i]));
}

static void put_head(struct buf *b, const struct http1_request *r)
{
	buf_printf(b, "%.*s %.*s 1.%d\n", SLICE_ARG(r->method), SLICE_ARG(r->target), r->minor);
	for (uint32_t i = 0; i < r->n_headers; i++) {
		put_lower(b, r->headers[i].name);
		buf_printf(b, ": %.*s\n", SLICE_ARG(r->headers[i].value));
	}
}

/* 1: the body is complete; 0: not yet. */
static int read_body(const struct http1_request *r, struct slice in, size_t *used, struct buf *body, bool bytewise)
{
	struct http1_chunked c = { 0 };
	int rc = 0;
	*used = 0;
	if (r->framing != HTTP1_CHUNKED) {
		if (r->content_length > in.len)
			return 0;
		*used = r->content_length;
		buf_slice(body, slice_sub(in, 0, *used));
		return 1;
	}
	while (rc == 0 && *used < in.len) {
		size_t n;
		rc = http1_chunked_feed(&c, slice_sub(in, *used, bytewise ? 1 : SIZE_MAX), &n, body);
		*used += rc >= 0 ? n : 0;
	}
	return rc;
}

static int read_head(struct slice in, struct http1_request *r, bool bytewise)
{
	int rc = -E_AGAIN;
	for (size_t n = bytewise ? 1 : in.len; rc == -E_AGAIN && n <= in.len; n++)
		rc = http1_request_parse(slice_sub(in, 0, n), r);
	return rc;
}

static enum ending read_stream(struct slice in, struct buf *out, bool bytewise)
{
	static struct http1_request r;
	while (slice_trim(in).len > 0) {
		struct buf body = { 0 };
		size_t used;
		int rc = read_head(in, &r, bytewise);
		if (rc < 0)
			return rc == -E_AGAIN ? END_WAITING : END_REFUSED;
		in = slice_sub(in, r.head_len, SIZE_MAX);
		rc = read_body(&r, in, &used, &body, bytewise);
		if (rc == 1) {
			put_head(out, &r);
			buf_printf(out, "= %.*s\n", SLICE_ARG(buf_view(&body)));
		}
		buf_fini(&body);
		if (rc <= 0)
			return rc < 0 ? END_REFUSED : END_WAITING;
		if (!r.keep_alive)
			return END_CLOSED;
		in = slice_sub(in, used, SIZE_MAX);
	}
	return END_ALL;
}

/* WANT: the text, or NULL for what must be refused. */
static void judge(struct slice name, struct slice in, const struct slice *want)
{
	struct buf whole = { 0 }, bytewise = { 0 };
	enum ending e = read_stream(in, &whole, false), again = read_stream(in, &bytewise, true);
	bool same = e == again && slice_eq(buf_view(&whole), buf_view(&bytewise));
	bool ok = want == NULL ? e == END_REFUSED || e == END_WAITING : e != END_REFUSED && slice_eq(buf_view(&whole), *want);
	suite_case(&S, name, ok && same, "%s\n%.*s%s\n%.*s", same ? ENDING[e] : "another end bytewise", SLICE_ARG(slice_sub(buf_view(&whole), 0, 1000)),
		   want != NULL ? "--- wanted" : "--- should be refused", want != NULL ? (int)want->len : 0, want != NULL ? want->ptr : "");
	buf_fini(&whole);
	buf_fini(&bytewise);
}

/* --- gunicorn ------------------------------------------------------------------------------------------------------------------------ */

/* The text of a list of requests; false: something in it is no plain data. Texts are of code points below 256, which stand for octets. */
static void put_octets(struct buf *b, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.ptr[i];
		if ((c == 0xc2 || c == 0xc3) && i + 1 < s.len)
			c = (unsigned char)(c << 6) | (s.ptr[++i] & 0x3f);
		buf_putc(b, (char)c);
	}
}

static bool put_wanted(struct buf *b, const struct val *requests)
{
	for (uint32_t i = 0; i < requests->n; i++) {
		const struct val *r = &requests->items[i], *uri = val_get_lit(r, "uri"), *headers = val_get_lit(r, "headers"), *body = val_get_lit(r, "body");
		if (uri == NULL || uri->type != VAL_STR || headers == NULL || headers->type != VAL_LIST || body == NULL || body->type != VAL_STR)
			return false;
		buf_printf(b, "%.*s ", SLICE_ARG(val_get_str(r, SLICE("method"))));
		put_octets(b, uri->s);
		buf_printf(b, " 1.%d\n", (int)val_get_lit(r, "version")->items[1].i);
		for (uint32_t k = 0; k < headers->n; k++) {
			put_lower(b, headers->items[k].items[0].s);
			buf_lit(b, ": ");
			put_octets(b, headers->items[k].items[1].s);
			buf_putc(b, '\n');
		}
		buf_lit(b, "= ");
		put_octets(b, body->s);
		buf_putc(b, '\n');
	}
	return true;
}

static void run_gunicorn(struct arena *a)
{
	struct val cases = suite_json(S.folder, "gunicorn/cases.json", a);
	for (uint32_t i = 0; i < cases.n; i++) {
		const struct val *c = &cases.items[i], *requests = val_get_lit(c, "requests");
		struct buf raw = { 0 }, want = { 0 };
		if (val_get_lit(c, "config")->n > 0)
			continue;	/* needs options of that server */
		if (hex_decode(&raw, val_get_str(c, SLICE("raw_hex"))) < 0)
			suite_case(&S, val_get_str(c, SLICE("name")), false, "no hex");
		else if (requests == NULL)
			judge(val_get_str(c, SLICE("name")), buf_view(&raw), NULL);
		else if (put_wanted(&want, requests))
			judge(val_get_str(c, SLICE("name")), buf_view(&raw), &(struct slice){ want.ptr, want.len });
		buf_fini(&raw);
		buf_fini(&want);
	}
}

/* --- llhttp ------------------------------------------------------------------------------------------------------------------------- */

/* The text of a fenced block, its fence being the first of MD from *AT. */
static bool next_block(struct slice md, size_t *at, const char *fence, struct slice *out)
{
	ptrdiff_t from = slice_find(slice_sub(md, *at, SIZE_MAX), slice_from_cstr(fence));
	if (from < 0)
		return false;
	*at += from + strlen(fence);
	ptrdiff_t to = slice_find(slice_sub(md, *at, SIZE_MAX), SLICE("\n```"));
	if (to < 0)
		return false;
	*out = slice_sub(md, *at, to);
	*at += to + 1;
	return true;
}

static int hex_pair(struct slice s)
{
	struct buf b = { 0 };
	int v = hex_decode(&b, slice_sub(s, 0, 2)) == 0 && b.len == 1 ? (unsigned char)b.ptr[0] : -1;
	buf_fini(&b);
	return v;
}

/* Line ends are CRLF, but none behind a backslash; \r \n \t \f \xNN are octets. */
static void unescape(struct buf *b, struct slice s)
{
	static const char NAMES[] = "rntf", OCTETS[] = "\r\n\t\f";
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i], next = i + 1 < s.len ? s.ptr[i + 1] : 0;
		const char *name = c == '\\' && next != 0 ? strchr(NAMES, next) : NULL;
		int v;
		if (c == '\n') {
			buf_lit(b, "\r\n");
		} else if (c == '\\' && next == '\n') {
			i++;
		} else if (name != NULL) {
			buf_putc(b, OCTETS[name - NAMES]);
			i++;
		} else if (c == '\\' && next == 'x' && (v = hex_pair(slice_sub(s, i + 2, SIZE_MAX))) >= 0) {
			buf_putc(b, (char)v);
			i += 3;
		} else {
			buf_putc(b, c);
		}
	}
}

/* What a log tells, gathered until its message is complete. */
struct log {
	struct buf all, method, url, version, name, value, headers, body;
	bool refused;
};

static uint64_t number_behind(struct slice line, const char *word)
{
	ptrdiff_t at = slice_find(line, slice_from_cstr(word));
	return at < 0 ? 0 : strtoull(line.ptr + at + strlen(word), NULL, 10);
}

static void move(struct buf *to, struct buf *from)
{
	buf_slice(to, buf_view(from));
	buf_clear(from);
}

/* "off=8 len=4 span[url]="…"": the octets come from the input, as the log escapes them. */
static void read_span(struct log *l, struct slice line, struct slice in)
{
	const struct { const char *word; struct buf *to; } SPANS[] = {
		{ "span[method]=", &l->method }, { "span[url]=", &l->url }, { "span[version]=", &l->version }, { "span[header_field]=", &l->name },
		{ "span[header_value]=", &l->value }, { "span[body]=", &l->body },
	};
	for (size_t i = 0; i < ARRAY_LEN(SPANS); i++)
		if (slice_find(line, slice_from_cstr(SPANS[i].word)) >= 0)
			buf_slice(SPANS[i].to, slice_sub(in, number_behind(line, "off="), number_behind(line, "len=")));
}

static void read_log_line(struct log *l, struct slice line, struct slice in)
{
	read_span(l, line, in);
	if (slice_find(line, SLICE("header_value complete")) >= 0) {
		put_lower(&l->headers, buf_view(&l->name));
		buf_printf(&l->headers, ": %.*s\n", SLICE_ARG(slice_trim(buf_view(&l->value))));
		buf_clear(&l->name);
		buf_clear(&l->value);
	} else if (slice_find(line, SLICE("message complete")) >= 0) {
		const struct { struct buf *part; const char *behind; } PARTS[] = { { &l->method, " " }, { &l->url, " " }, { &l->version, "\n" }, { &l->headers, "= " }, { &l->body, "\n" } };
		for (size_t i = 0; i < ARRAY_LEN(PARTS); i++) {
			move(&l->all, PARTS[i].part);
			buf_cstr_put(&l->all, PARTS[i].behind);
		}
	} else if (slice_find(line, SLICE(" error code=")) >= 0) {
		uint64_t code = number_behind(line, "code=");
		l->refused = code != 5 && code != 22;	/* more behind a request that ends the connection; a pause for another protocol */
	}
}

static void run_block(const char *name, struct slice source, struct slice text)
{
	struct log l = { 0 };
	struct buf in = { 0 };
	struct slice line;
	unescape(&in, source);
	while (slice_split_next(&text, '\n', &line))
		read_log_line(&l, line, buf_view(&in));
	judge(slice_from_cstr(name), buf_view(&in), l.refused ? NULL : &(struct slice){ l.all.ptr, l.all.len });
	struct buf *const ALL[] = { &l.all, &l.method, &l.url, &l.version, &l.name, &l.value, &l.headers, &l.body, &in };
	for (size_t i = 0; i < ARRAY_LEN(ALL); i++)
		buf_fini(ALL[i]);
}

/* Blocks are named by their file and number; those for other modes of that parser are left out. */
static void run_file(const char *path, void *arg)
{
	struct slice md;
	size_t at = 0;
	if (!slice_ends(slice_from_cstr(path), SLICE(".md")) || strstr(path, "/pausing.md") != NULL || !suite_read(path, &md))
		return;
	for (int n = 1;; n++) {
		struct slice meta, source, log;
		char name[300];
		if (!next_block(md, &at, "<!-- meta=", &meta) || (at = at - meta.len, !next_block(md, &at, "```http\n", &source)) || !next_block(md, &at, "```log\n", &log))
			break;
		meta = slice_sub(meta, 0, slice_find(meta, SLICE("-->")));
		snprintf(name, sizeof name, "llhttp/%s#%d", strrchr(path, '/') + 1, n);
		if (slice_find(meta, SLICE("\"request\"")) >= 0 && slice_find(meta, SLICE("skipBody")) < 0)
			run_block(name, source, log);
	}
	suite_free(md);
}

int main(int argc, char **argv)
{
	char requests[4200];
	S.folder = suite_folder(argc, argv, "http");
	if (S.folder == NULL)
		return SUITE_SKIP;
	struct arena *a = arena_create();
	run_gunicorn(a);
	arena_destroy(&a);
	snprintf(requests, sizeof requests, "%s/llhttp/request", S.folder);
	suite_walk(requests, run_file, NULL);
	return suite_end(&S, 200);
}
