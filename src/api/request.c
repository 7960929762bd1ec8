/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of endpoints: JSON bodies and queries through option tables; answers and errors. */
#include "api/api.h"
#include "base/uuid.h"

/* Messages of the option reader begin with the (empty) name and the path: ".filter: invalid …", ": missing field …". */
static const char *without_root(const char *text)
{
	while (*text == '.' || *text == ':' || *text == ' ')
		text++;
	return text;
}

/* "recipients[1].name: …" becomes "recipients[0].name: …", as JSON counts, and an unknown field is part of the place. */
static const char *as_json_place(struct arena *a, const char *text)
{
	struct slice s = slice_from_cstr(text), mark = SLICE("unknown field `");
	ptrdiff_t colon = slice_find(s, SLICE(": ")), at = slice_find(s, mark);
	size_t place = at == 0 ? 0 : colon > 0 ? (size_t)colon : 0;
	struct buf b = { 0 };
	uint64_t n;

	for (size_t i = 0; i < place; i++) {
		size_t end = i + 1;
		while (end < place && ascii_is_digit(s.ptr[end]))
			end++;
		if (s.ptr[i] == '[' && end < place && s.ptr[end] == ']' && slice_to_u64(slice_sub(s, i + 1, end - i - 1), &n) == 0 && n) {
			buf_printf(&b, "[%llu", (unsigned long long)n - 1);
			i = end - 1;
		} else {
			buf_putc(&b, s.ptr[i]);
		}
	}
	if (at == 0 || (at > 0 && (size_t)at == place + 2)) {
		struct slice name = slice_sub(s, at + mark.len, SIZE_MAX);
		ptrdiff_t tick = slice_chr(name, '`');
		buf_printf(&b, "%s%.*s%s", place ? "." : "", (int)MAX(tick, (ptrdiff_t)0), name.ptr, place ? "" : ": ");
	}
	buf_slice(&b, slice_sub(s, place, SIZE_MAX));
	if (slice_ends(buf_view(&b), SLICE("expected a table"))) {
		buf_truncate(&b, b.len - strlen("a table"));
		buf_lit(&b, "struct");	/* there are no tables in JSON */
	}
	const char *out = arena_strdup(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

static bool is_json(struct slice type)
{
	ptrdiff_t semi = slice_chr(type, ';');
	struct slice t = slice_trim(semi < 0 ? type : slice_sub(type, 0, semi));

	return slice_eq_nocase(t, SLICE("application/json")) || (slice_starts_nocase(t, SLICE("application/")) && slice_ends_nocase(t, SLICE("+json")));
}

/* The JSON alone. */
static int api_body_val(struct api_call *c, struct val *out)
{
	struct slice body;

	if (!is_json(http_request_header(c->req, "content-type"))) {
		http_respond(c->resp, 415, "Expected request with `Content-Type: application/json`");
		return -E_INVAL;
	}
	int rc = http_request_body(c->req, c->resp, &body);
	if (rc == 0 && (rc = json_parse(body, c->arena, out)) < 0)
		http_respond(c->resp, 400, "Failed to parse the request body as JSON: %s", err_text());
	return rc;
}

int api_body_with_val(struct api_call *c, const struct opt_desc *d, void *out, struct val *v)
{
	int rc = api_body_val(c, v);

	if (rc < 0)
		return rc;
	rc = opt_parse(d, v, c->arena, out);
	if (rc < 0)
		http_respond(c->resp, 422, "Failed to deserialize the JSON body into the target type: %s", as_json_place(c->arena, without_root(err_text())));
	return rc;
}

int api_body(struct api_call *c, const struct opt_desc *d, void *out)
{
	struct val v;

	return api_body_with_val(c, d, out, &v);
}

static const struct opt_field *field_of(const struct opt_desc *d, struct slice name)
{
	for (const struct opt_field *f = d->fields; f->name; f++) {
		if (slice_eq_cstr(name, f->name))
			return f;
	}
	return NULL;
}

/* A query holds text only: what the table wants as something else is converted first. */
static int query_value(const struct opt_field *f, struct slice text, struct arena *a, struct val *out)
{
	int64_t n;

	*out = val_str(a, text);
	if (!f)
		return 0;
	if (f->type == OPT_T_BOOL) {
		if (!slice_eq_cstr(text, "true") && !slice_eq_cstr(text, "false"))
			return err_set(E_INVAL, "%s: provided string was not `true` or `false`", f->name);
		*out = val_bool(text.ptr[0] == 't');
	} else if (f->type == OPT_T_INT) {
		if (slice_to_i64(text, &n) < 0 || n < 0)
			return err_set(E_INVAL, "%s: invalid digit found in string", f->name);
		*out = val_int(n);
	} else if (f->type == OPT_T_LIST) {
		struct val list = val_list();
		struct slice rest = text, item;
		while (slice_split_next(&rest, ',', &item)) {
			if (item.len)
				val_push(a, &list, val_str(a, slice_trim(item)));
		}
		*out = list;
	}
	return 0;
}

int api_query(struct api_call *c, const struct opt_desc *d, void *out)
{
	struct slice rest = c->req->head->query;
	struct buf name = { 0 }, value = { 0 };
	struct val v = val_obj(), one;
	int rc = 0;

	while (http1_query_next(&rest, &name, &value)) {
		rc = query_value(field_of(d, buf_view(&name)), buf_view(&value), c->arena, &one);
		if (rc < 0)
			break;
		uint32_t before = v.n;
		struct val *put = val_put(c->arena, &v, buf_view(&name), one);
		put->given_twice = v.n == before;
	}
	if (rc == 0)
		rc = opt_parse(d, &v, c->arena, out);
	if (rc < 0)
		http_respond(c->resp, 400, "Failed to deserialize query string: %s", without_root(err_text()));
	buf_fini(&name);
	buf_fini(&value);
	return rc;
}

void api_json(struct api_call *c, const struct val *v)
{
	c->resp->status = 200;
	c->resp->content_type = SLICE("application/json");
	buf_clear(&c->resp->body);
	json_put(&c->resp->body, v, JSON_COMPACT);
}

void api_fail(struct api_call *c, int rc)
{
	http_respond(c->resp, rc == -E_NOENT ? 404 : rc == -E_INVAL ? 400 : 500, "Error: %s", err_text());
}

int opt_read_uuid(struct opt_ctx *c, const struct val *in, void *out)
{
	if (in->type != VAL_STR)
		return opt_fail_type(c, in, "a formatted UUID string");
	return uuid_parse(in->s, out) < 0 ? opt_fail(c, in, "a formatted UUID string") : 0;
}
