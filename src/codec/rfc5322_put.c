/* SPDX-License-Identifier: Apache-2.0 */
/* Structured header values as text. */
#include "base/utf8.h"
#include "codec/rfc5322_int.h"

static int expected(const struct val *v, const char *what)
{
	return err_set(E_INVAL, "deserialize error: invalid type: %s, expected %s", val_type_name(v->type), what);
}

static void put_quoted(struct buf *b, struct slice s)
{
	buf_putc(b, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\')
			buf_putc(b, '\\');
		buf_putc(b, s.ptr[i]);
	}
	buf_putc(b, '"');
}

void mail_put_addr_spec(struct buf *b, struct slice local, struct slice domain)
{
	bool plain = true;
	for (size_t i = 0; i < local.len; i++)
		plain &= local.ptr[i] < 0 || local.ptr[i] == '.' || mail_is_atext(local.ptr[i]);
	if (plain)
		buf_slice(b, local);
	else
		put_quoted(b, local);
	buf_putc(b, '@');
	buf_slice(b, domain);
}

static void put_display_name(struct buf *b, struct slice name)
{
	bool atoms = name.len > 0;
	if (!utf8_is_ascii(name)) {
		mail_put_word(b, name);
		return;
	}
	for (size_t i = 0; i < name.len; i++)
		atoms &= mail_is_atext(name.ptr[i]);
	if (atoms)
		buf_slice(b, name);
	else
		put_quoted(b, name);
}

int mail_put_mailbox(struct buf *b, const struct val *v)
{
	if (v->type != VAL_OBJ)
		return expected(v, "a mailbox");
	const struct val *name = val_get_lit(v, "name"), *addr = val_get_lit(v, "address");
	if (addr == NULL)
		return err_set(E_INVAL, "deserialize error: missing field `address`");
	const struct val *local = val_get_lit(addr, "local_part"), *domain = val_get_lit(addr, "domain");
	if (local == NULL || local->type != VAL_STR || domain == NULL || domain->type != VAL_STR)
		return err_set(E_INVAL, "deserialize error: an address needs `local_part` and `domain`, both strings");
	if (name != NULL && name->type != VAL_NULL) {
		if (name->type != VAL_STR)
			return expected(name, "a string as `name`");
		put_display_name(b, name->s);
		buf_putc(b, ' ');
	}
	buf_putc(b, '<');
	mail_put_addr_spec(b, local->s, domain->s);
	buf_putc(b, '>');
	return 0;
}

static int put_list(struct buf *b, const struct val *v, const char *sep, int (*item)(struct buf *, const struct val *))
{
	/* an empty Lua table reads as an object */
	if (v->type != VAL_LIST && !(v->type == VAL_OBJ && v->n == 0))
		return expected(v, "a list");
	for (uint32_t i = 0; v->type == VAL_LIST && i < v->n; i++) {
		if (i > 0)
			buf_cstr_put(b, sep);
		int rc = item(b, &v->items[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int mail_put_mailbox_list(struct buf *b, const struct val *v)
{
	return put_list(b, v, ",\r\n\t", mail_put_mailbox);
}

static int put_address(struct buf *b, const struct val *v)
{
	const struct val *entries = v->type == VAL_OBJ ? val_get_lit(v, "entries") : NULL;
	if (entries == NULL)
		return mail_put_mailbox(b, v);
	struct slice name = val_get_str(v, SLICE("name"));
	if (name.ptr == NULL)
		return err_set(E_INVAL, "deserialize error: a group needs a `name`");
	if (utf8_is_ascii(name))
		buf_slice(b, name);
	else
		mail_put_word(b, name);
	buf_putc(b, ':');
	int rc = mail_put_mailbox_list(b, entries);
	buf_putc(b, ';');
	return rc;
}

int mail_put_address_list(struct buf *b, const struct val *v)
{
	return put_list(b, v, ",\r\n\t", put_address);
}

int mail_put_message_id(struct buf *b, const struct val *v)
{
	if (v->type != VAL_STR)
		return expected(v, "a string");
	buf_printf(b, "<%.*s>", SLICE_ARG(v->s));
	return 0;
}

int mail_put_message_id_list(struct buf *b, const struct val *v)
{
	return put_list(b, v, "\r\n\t", mail_put_message_id);
}

/* --- Authentication-Results (RFC 8601) ------------------------------------------------------------------------------------------ */

static bool fail(struct scan *s, const char *start)
{
	s->p = start;
	return false;
}

/* the value of a property: @domain, local@domain, a quoted string, a domain, a token */
static bool lex_pvalue(struct scan *s, struct buf *b)
{
	const char *start = s->p;
	if (lex_char(s, '@')) {
		buf_putc(b, '@');
		return lex_domain(s, b) || fail(s, start);
	}
	if (lex_local_part(s, b) && lex_char(s, '@')) {
		buf_putc(b, '@');
		if (lex_domain(s, b))
			return true;
	}
	s->p = start;
	buf_clear(b);
	if (lex_quoted(s, b))
		return true;
	buf_clear(b);
	if (lex_domain(s, b))
		return true;
	buf_clear(b);
	return lex_token(s, b);
}

static bool lex_prop(struct scan *s, struct val *props)
{
	const char *start = s->p;
	struct buf name = { 0 }, value = { 0 };
	bool ok = lex_opt_cfws(s) && lex_keyword(s, &name) && lex_opt_cfws(s) && lex_char(s, '.');
	if (ok) {
		buf_putc(&name, '.');
		ok = lex_opt_cfws(s) && lex_keyword(s, &name) && lex_opt_cfws(s) && lex_char(s, '=') && lex_opt_cfws(s) && lex_pvalue(s, &value);
	}
	if (ok) {
		lex_cfws(s);
		val_put(s->a, props, buf_view(&name), val_str(s->a, buf_view(&value)));
	} else {
		s->p = start;
	}
	buf_fini(&name);
	buf_fini(&value);
	return ok;
}

static bool take_word(struct scan *s, const char *word)
{
	size_t n = strlen(word);
	if (scan_left(s) < n || memcmp(s->p, word, n) != 0)
		return false;
	s->p += n;
	return true;
}

static bool lex_reason(struct scan *s, struct val *res)
{
	const char *start = s->p;
	struct buf b = { 0 };
	bool ok = lex_cfws(s) && take_word(s, "reason") && lex_opt_cfws(s) && lex_char(s, '=') && lex_opt_cfws(s) && lex_value(s, &b);
	if (ok)
		val_put_lit(s->a, res, "reason", val_str(s->a, buf_view(&b)));
	else
		s->p = start;
	buf_fini(&b);
	return ok;
}

static bool lex_resinfo(struct scan *s, struct val *out)
{
	const char *start = s->p, *at;
	struct buf method = { 0 }, result = { 0 };
	uint32_t version;
	struct val props = val_obj();

	*out = val_obj();
	bool ok = lex_opt_cfws(s) && lex_char(s, ';') && lex_opt_cfws(s) && lex_keyword(s, &method);
	if (ok) {
		val_put_lit(s->a, out, "method", val_str(s->a, buf_view(&method)));
		at = s->p;
		if (lex_opt_cfws(s) && lex_char(s, '/') && lex_opt_cfws(s) && lex_u32(s, &version))
			val_put_lit(s->a, out, "method_version", val_int(version));
		else
			s->p = at;
		ok = lex_opt_cfws(s) && lex_char(s, '=') && lex_opt_cfws(s) && lex_keyword(s, &result);
	}
	if (ok) {
		val_put_lit(s->a, out, "result", val_str(s->a, buf_view(&result)));
		lex_reason(s, out);
		while (lex_prop(s, &props))
			;
		val_put_lit(s->a, out, "props", props);
	} else {
		s->p = start;
	}
	buf_fini(&method);
	buf_fini(&result);
	return ok;
}

static bool lex_results(struct scan *s, struct val *out)
{
	const char *start;
	struct buf id = { 0 };
	struct val results = val_list(), one;
	uint32_t version;
	bool ok = lex_opt_cfws(s) && lex_value(s, &id);

	if (ok) {
		val_put_lit(s->a, out, "serv_id", val_str(s->a, buf_view(&id)));
		start = s->p;
		if (lex_cfws(s) && lex_u32(s, &version))
			val_put_lit(s->a, out, "version", val_int(version));
		else
			s->p = start;
		start = s->p;
		if (!(lex_opt_cfws(s) && lex_char(s, ';') && lex_opt_cfws(s) && take_word(s, "none"))) {
			s->p = start;
			while (lex_resinfo(s, &one))
				val_push(s->a, &results, one);
			ok = results.n > 0;
		}
		lex_cfws(s);
		val_put_lit(s->a, out, "results", results);
	}
	buf_fini(&id);
	return ok;
}

int mail_parse_auth_results(struct slice value, struct arena *a, struct val *out)
{
	struct scan s = scan_new(value, a);
	*out = val_obj();
	return scan_finish(&s, lex_results(&s, out));
}

static void put_token(struct buf *b, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!mail_is_token(s.ptr[i]) && s.ptr[i] != '@') {
			put_quoted(b, s);
			return;
		}
	buf_slice(b, s);
}

static int put_field(struct buf *b, const struct val *v, const char *name)
{
	const struct val *f = val_get(v, slice_from_cstr(name));
	if (f == NULL)
		return err_set(E_INVAL, "deserialize error: missing field `%s`", name);
	if (f->type != VAL_STR)
		return err_set(E_INVAL, "deserialize error: %s: invalid type: %s, expected a string", name, val_type_name(f->type));
	put_token(b, f->s);
	return 0;
}

static int put_props(struct buf *b, const struct val *props)
{
	struct arena *a = arena_create();
	struct val sorted = val_copy(a, props);
	int rc = 0;
	val_sort(&sorted);
	for (uint32_t i = 0; rc == 0 && sorted.type == VAL_OBJ && i < sorted.n; i++) {
		if (sorted.members[i].val.type != VAL_STR) {
			rc = err_set(E_INVAL, "deserialize error: props.%.*s: expected a string", SLICE_ARG(sorted.members[i].key));
			break;
		}
		buf_printf(b, "\r\n\t%.*s=", SLICE_ARG(sorted.members[i].key));
		put_token(b, sorted.members[i].val.s);
	}
	arena_destroy(&a);
	return rc;
}

static int put_result(struct buf *b, const struct val *v)
{
	const struct val *ver = val_get_lit(v, "method_version"), *reason = val_get_lit(v, "reason"), *props = val_get_lit(v, "props");
	int rc;
	if (v->type != VAL_OBJ)
		return expected(v, "table");
	buf_lit(b, ";\r\n\t");
	if ((rc = put_field(b, v, "method")) < 0)
		return rc;
	if (ver != NULL && ver->type == VAL_INT)
		buf_printf(b, "/%lld", (long long)ver->i);
	buf_putc(b, '=');
	if ((rc = put_field(b, v, "result")) < 0)
		return rc;
	if (reason != NULL && reason->type == VAL_STR) {
		buf_lit(b, " reason=");
		put_token(b, reason->s);
	}
	return props != NULL ? put_props(b, props) : 0;
}

int mail_put_auth_results(struct buf *b, const struct val *v)
{
	const struct val *instance = val_get_lit(v, "instance"), *version = val_get_lit(v, "version"), *results = val_get_lit(v, "results");
	int rc;
	if (v->type != VAL_OBJ)
		return expected(v, "table");
	if (instance != NULL && instance->type == VAL_INT)
		buf_printf(b, "i=%lld; ", (long long)instance->i);
	if ((rc = put_field(b, v, "serv_id")) < 0)
		return rc;
	if (version != NULL && version->type == VAL_INT)
		buf_printf(b, " %lld", (long long)version->i);
	if (results == NULL || results->n == 0)
		buf_lit(b, "; none");
	for (uint32_t i = 0; results != NULL && results->type == VAL_LIST && i < results->n; i++)
		if ((rc = put_result(b, &results->items[i])) < 0)
			return rc;
	return 0;
}

static bool is_break(char c) { return c == '\r' || c == '\n'; }

void mail_put_folded(struct buf *b, struct slice value)
{
	while (value.len && is_break(value.ptr[value.len - 1]))
		value.len--;
	for (size_t i = 0; i < value.len; i++) {
		if (!is_break(value.ptr[i])) {
			buf_putc(b, value.ptr[i]);
			continue;
		}
		while (is_break(value.ptr[i + 1]))
			i++;
		buf_lit(b, "\r\n");
		if (value.ptr[i + 1] != ' ' && value.ptr[i + 1] != '\t')
			buf_putc(b, ' ');
	}
}
