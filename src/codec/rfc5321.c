/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines of SMTP (RFC 5321 4.1, RFC 4954, RFC 2033, XCLIENT). */
#include "codec/rfc5321_int.h"

#define PARAMS_MAX 64

struct verb_desc {
	const char *name;
	int (*parse)(struct slice rest, struct arena *a, struct smtp_cmd *c);	/* REST: behind the verb, with its white space */
};

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* Drops white space at the front; false when there is none. */
static bool take_wsp(struct slice *in)
{
	size_t n = 0;
	while (n < in->len && is_wsp(in->ptr[n]))
		n++;
	*in = slice_sub(*in, n, SIZE_MAX);
	return n > 0;
}

static size_t run_len(struct slice s, bool (*ok)(char c))
{
	size_t n = 0;
	while (n < s.len && ok(s.ptr[n]))
		n++;
	return n;
}

static bool is_alnum(char c) { return ascii_is_alnum(c); }
static bool is_keyword(char c) { return ascii_is_alnum(c) || c == '-'; }
static bool is_base64(char c) { return ascii_is_alnum(c) || c == '+' || c == '/' || c == '='; }
static bool is_xtext(char c) { return c >= 33 && c <= 126; }

static struct slice take_run(struct slice *in, bool (*ok)(char c))
{
	struct slice s = slice_sub(*in, 0, run_len(*in, ok));
	*in = slice_sub(*in, s.len, SIZE_MAX);
	return s;
}

static int fault(struct smtp_cmd *c, enum smtp_fault f)
{
	c->fault = f;
	return -E_INVAL;
}

static int parse_bare(struct slice rest, struct arena *a, struct smtp_cmd *c)
{
	return rest.len == 0 ? 0 : fault(c, SMTP_FAULT_SYNTAX);
}

/* NOOP, HELP, VRFY, EXPN: nothing, or one atom or quoted string. */
static int parse_string(struct slice rest, struct arena *a, struct smtp_cmd *c)
{
	if (!take_wsp(&rest))
		return 0;
	size_t n = smtp_atom_len(rest);
	if (n == 0)
		n = smtp_quoted_len(rest);
	if (n == 0 || n != rest.len)
		return fault(c, SMTP_FAULT_SYNTAX);
	c->arg = rest;
	return 0;
}

static int parse_hello(struct slice rest, struct arena *a, struct smtp_cmd *c)
{
	if (!take_wsp(&rest) || smtp_take_domain(&rest, a, &c->arg) < 0 || rest.len > 0) {
		c->arg = SLICE_NONE;
		return fault(c, SMTP_FAULT_SYNTAX);
	}
	return 0;
}

static size_t value_len(struct slice s)
{
	size_t n = 0, u;
	while (n < s.len) {
		unsigned char ch = s.ptr[n];
		if (ch >= 33 && ch <= 126 && ch != '=')
			n++;
		else if ((u = smtp_utf8_len(slice_sub(s, n, SIZE_MAX))) > 0)
			n += u;
		else
			break;
	}
	return n;
}

static void add_param(struct smtp_cmd *c, struct arena *a, struct slice name, struct slice value)
{
	if (c->params == NULL)
		c->params = arena_alloc(a, PARAMS_MAX * sizeof *c->params);
	c->params[c->n_params++] = (struct smtp_param){ name, value };
}

/* name["=" value], divided by white space, up to the end. */
static int parse_params(struct slice in, struct arena *a, struct smtp_cmd *c)
{
	do {
		struct slice name, value = SLICE_NONE;
		if (in.len == 0 || !ascii_is_alnum(in.ptr[0]) || c->n_params == PARAMS_MAX)
			return -E_INVAL;
		name = take_run(&in, is_keyword);
		if (smtp_take(&in, '=')) {
			if ((value = slice_sub(in, 0, value_len(in))).len == 0)
				return -E_INVAL;
			in = slice_sub(in, value.len, SIZE_MAX);
		}
		add_param(c, a, name, value);
		if (in.len == 0)
			return 0;
	} while (take_wsp(&in));
	return -E_INVAL;
}

static int parse_path_cmd(struct slice rest, struct slice word, unsigned forms, enum smtp_fault bad, struct arena *a, struct smtp_cmd *c)
{
	if (!take_wsp(&rest) || !slice_starts_nocase(rest, word) || rest.len == word.len)
		return fault(c, SMTP_FAULT_SYNTAX);
	rest = slice_sub(rest, word.len, SIZE_MAX);
	/* "MAIL FROM: <…>" is no RFC syntax, but legacy clients say it */
	take_wsp(&rest);
	if (smtp_take_path(&rest, forms, a, &c->path) < 0)
		return fault(c, bad);
	if (rest.len == 0)
		return 0;
	if (!take_wsp(&rest) || rest.len == 0)
		return fault(c, bad);
	return parse_params(rest, a, c) < 0 ? fault(c, SMTP_FAULT_SYNTAX) : 0;
}

static int parse_mail(struct slice rest, struct arena *a, struct smtp_cmd *c)
{
	return parse_path_cmd(rest, SLICE("FROM:"), SMTP_FORM_NULL, SMTP_FAULT_SENDER, a, c);
}

static int parse_rcpt(struct slice rest, struct arena *a, struct smtp_cmd *c)
{
	return parse_path_cmd(rest, SLICE("TO:"), SMTP_FORM_POSTMASTER, SMTP_FAULT_RECIPIENT, a, c);
}

static int parse_auth(struct slice rest, struct arena *a, struct smtp_cmd *c)
{
	if (!take_wsp(&rest) || (c->arg = take_run(&rest, is_keyword)).len == 0)
		return fault(c, SMTP_FAULT_SYNTAX);
	if (rest.len == 0)
		return 0;
	if (!take_wsp(&rest) || rest.len == 0 || run_len(rest, is_base64) != rest.len)
		return fault(c, SMTP_FAULT_SYNTAX);
	c->initial = rest;
	return 0;
}

static int decode_xtext(struct slice in, struct arena *a, struct slice *out)
{
	struct buf b = { 0 };
	int rc = smtp_xtext_decode(&b, in);
	if (rc == 0)
		*out = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return rc;
}

static int parse_xclient(struct slice rest, struct arena *a, struct smtp_cmd *c)
{
	if (!take_wsp(&rest))
		return fault(c, SMTP_FAULT_SYNTAX);
	do {
		struct slice name, value;
		if (rest.len == 0 || !ascii_is_alnum(rest.ptr[0]) || c->n_params == PARAMS_MAX)
			return fault(c, SMTP_FAULT_SYNTAX);
		name = take_run(&rest, is_keyword);
		if (!smtp_take(&rest, '=') || (value = take_run(&rest, is_xtext)).len == 0 || decode_xtext(value, a, &value) < 0)
			return fault(c, SMTP_FAULT_SYNTAX);
		add_param(c, a, name, value);
		if (rest.len == 0)
			return 0;
	} while (take_wsp(&rest));
	return fault(c, SMTP_FAULT_SYNTAX);
}

static const struct verb_desc VERBS[SMTP_VERB_COUNT] = {
	[SMTP_EHLO] = { "EHLO", parse_hello },		[SMTP_HELO] = { "HELO", parse_hello },
	[SMTP_LHLO] = { "LHLO", parse_hello },		[SMTP_MAIL] = { "MAIL", parse_mail },
	[SMTP_RCPT] = { "RCPT", parse_rcpt },		[SMTP_DATA] = { "DATA", parse_bare },
	[SMTP_RSET] = { "RSET", parse_bare },		[SMTP_QUIT] = { "QUIT", parse_bare },
	[SMTP_NOOP] = { "NOOP", parse_string },		[SMTP_HELP] = { "HELP", parse_string },
	[SMTP_VRFY] = { "VRFY", parse_string },		[SMTP_EXPN] = { "EXPN", parse_string },
	[SMTP_STARTTLS] = { "STARTTLS", parse_bare },	[SMTP_AUTH] = { "AUTH", parse_auth },
	[SMTP_XCLIENT] = { "XCLIENT", parse_xclient },
};

static enum smtp_verb find_verb(struct slice word)
{
	for (int v = SMTP_EHLO; v < SMTP_UNKNOWN; v++)
		if (slice_eq_nocase(word, slice_from_cstr(VERBS[v].name)))
			return v;
	return SMTP_UNKNOWN;
}

static int explain(struct smtp_cmd *c, const char *what)
{
	c->verb = SMTP_VERB_NONE;
	c->fault = SMTP_FAULT_COMMAND;
	return err_set(E_INVAL, "%s", what);
}

int smtp_cmd_parse(struct slice line, struct arena *a, struct smtp_cmd *out)
{
	if (slice_ends(line, SLICE("\r\n")))
		line.len -= 2;
	else if (slice_ends(line, SLICE("\n")))
		line.len--;
	*out = (struct smtp_cmd){ .line = line, .arg = SLICE_NONE, .initial = SLICE_NONE };

	struct slice rest = line, word = take_run(&rest, is_alnum);
	if (word.len == 0)
		return explain(out, line.len ? "a command begins with a letter or a digit" : "expected a command, got an empty line");
	if (rest.len > 0) {
		struct slice args = rest;
		if (!take_wsp(&args))
			return explain(out, "expected white space or the end of the line behind the command's verb");
		if (args.len == 0)
			return explain(out, "white space at the end of the command");
	}
	out->verb = find_verb(word);
	return out->verb == SMTP_UNKNOWN ? 0 : VERBS[out->verb].parse(rest, a, out);
}

const char *smtp_fault_text(enum smtp_fault f)
{
	static const char *const TEXTS[] = {
		[SMTP_FAULT_NONE] = "",
		[SMTP_FAULT_SYNTAX] = "Syntax error in command or arguments",
		[SMTP_FAULT_SENDER] = "5.1.7 Bad sender's mailbox address syntax",
		[SMTP_FAULT_RECIPIENT] = "5.1.3 Invalid recipient address syntax",
		[SMTP_FAULT_COMMAND] = "Syntax error in command or arguments",
	};
	assert(f < ARRAY_LEN(TEXTS));
	return TEXTS[f];
}

static int hex_digit(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int smtp_xtext_decode(struct buf *b, struct slice in)
{
	size_t start = b->len;
	for (size_t i = 0; i < in.len; i++) {
		if (in.ptr[i] != '+') {
			buf_putc(b, in.ptr[i]);
			continue;
		}
		int hi = i + 2 < in.len ? hex_digit(in.ptr[i + 1]) : -1;
		int lo = hi >= 0 ? hex_digit(in.ptr[i + 2]) : -1;
		if (lo < 0) {
			buf_truncate(b, start);
			return err_set(E_INVAL, "bad +XX escape in xtext at offset %zu", i);
		}
		buf_putc(b, hi << 4 | lo);
		i += 2;
	}
	return 0;
}
