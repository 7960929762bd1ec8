/* SPDX-License-Identifier: Apache-2.0 */
#include "api/openapi.h"
#include "kumo_version.h"
#include "rapidoc_html.h"

/* --- the notation ------------------------------------------------------------------------------------------------------ */

#define DEPTH_MAX 16

struct parser {
	const char *at;
	struct arena *a;
	int depth;
};

static int parse_choice(struct parser *p, struct val *out);

static void skip(struct parser *p)
{
	while (*p->at == ' ')
		p->at++;
}

static bool take(struct parser *p, char c)
{
	skip(p);
	if (*p->at != c)
		return false;
	p->at++;
	return true;
}

static int broken(const struct parser *p, const char *what)
{
	return err_set(E_INVAL, "shape: expected %s at `%.20s`", what, p->at);
}

static struct slice take_word(struct parser *p)
{
	skip(p);
	const char *start = p->at;

	while (ascii_is_alnum(*p->at) || *p->at == '_' || *p->at == '-')
		p->at++;
	return slice_new(start, (size_t)(p->at - start));
}

static struct val type_val(struct arena *a, struct slice type)
{
	struct val v = val_obj();

	val_put_lit(a, &v, "type", val_str(a, type));
	return v;
}

static struct val ref_val(struct arena *a, struct slice name)
{
	struct val v = val_obj();

	val_put_lit(a, &v, "$ref", val_cstr(a, arena_printf(a, "#/components/schemas/%.*s", SLICE_ARG(name))));
	return v;
}

static int parse_object(struct parser *p, struct val *out)
{
	struct val properties = val_obj(), required = val_list(), one;
	int rc = 0;

	while (rc == 0 && !take(p, ')')) {
		struct slice name = take_word(p);
		if (!name.len)
			return broken(p, "a member's name");
		if (take(p, '!'))
			val_push(p->a, &required, val_str(p->a, name));
		if ((rc = parse_choice(p, &one)) == 0)
			val_put(p->a, &properties, name, one);
		(void)take(p, ';');
	}
	*out = type_val(p->a, SLICE("object"));
	if (required.n)
		val_put_lit(p->a, out, "required", required);
	val_put_lit(p->a, out, "properties", properties);
	return rc;
}

static int parse_words(struct parser *p, struct val *out)
{
	struct val words = val_list();

	while (take(p, '\'')) {
		val_push(p->a, &words, val_str(p->a, take_word(p)));
		if (!take(p, '\''))
			return broken(p, "a quote");
	}
	*out = type_val(p->a, SLICE("string"));
	val_put_lit(p->a, out, "enum", words);
	return 0;
}

static int parse_named(struct parser *p, struct val *out)
{
	struct slice name = take_word(p);

	if (!name.len)
		return broken(p, "a type");
	if (name.ptr[0] >= 'A' && name.ptr[0] <= 'Z') {
		*out = ref_val(p->a, name);
		return 0;
	}
	*out = slice_eq_cstr(name, "any") ? val_obj() : type_val(p->a, name);
	if (take(p, ':'))
		val_put_lit(p->a, out, "format", val_str(p->a, take_word(p)));
	return 0;
}

static int parse_one(struct parser *p, struct val *out)
{
	struct val inner;
	int rc;

	if (++p->depth > DEPTH_MAX)
		return broken(p, "less depth");
	if (take(p, '(')) {
		rc = parse_object(p, out);
	} else if (take(p, '[')) {
		*out = type_val(p->a, SLICE("array"));
		if ((rc = parse_choice(p, &inner)) == 0)
			val_put_lit(p->a, out, "items", inner);
		if (rc == 0 && !take(p, ']'))
			rc = broken(p, "]");
	} else if (take(p, '{')) {
		*out = type_val(p->a, SLICE("object"));
		if ((rc = parse_choice(p, &inner)) == 0)
			val_put_lit(p->a, out, "additionalProperties", inner);
		if (rc == 0 && !take(p, '}'))
			rc = broken(p, "}");
	} else {
		skip(p);
		rc = *p->at == '\'' ? parse_words(p, out) : parse_named(p, out);
	}
	p->depth--;
	return rc;
}

static void make_nullable(struct arena *a, struct val *v)
{
	const struct val *type = val_get_lit(v, "type");
	struct val both = val_list(), either = val_list(), wrapped = val_obj();

	if (type) {
		val_push(a, &both, *type);
		val_push(a, &both, val_cstr(a, "null"));
		val_put_lit(a, v, "type", both);
		return;
	}
	val_push(a, &either, type_val(a, SLICE("null")));
	val_push(a, &either, *v);
	val_put_lit(a, &wrapped, "oneOf", either);
	*v = wrapped;
}

static int parse_suffixed(struct parser *p, struct val *out)
{
	int rc = parse_one(p, out);

	if (rc == 0 && take(p, '?'))
		make_nullable(p->a, out);
	return rc;
}

static int parse_choice(struct parser *p, struct val *out)
{
	struct val list = val_list(), one;
	int rc = parse_suffixed(p, out);

	skip(p);
	char sep = *p->at;
	if (rc < 0 || (sep != '|' && sep != '&'))
		return rc;
	val_push(p->a, &list, *out);
	while (rc == 0 && take(p, sep)) {
		skip(p);
		if (!*p->at || strchr(";)]}", *p->at))
			break;	/* "T |": a choice of one */
		if ((rc = parse_suffixed(p, &one)) == 0)
			val_push(p->a, &list, one);
	}
	*out = val_obj();
	val_put(p->a, out, sep == '|' ? SLICE("oneOf") : SLICE("allOf"), list);
	return rc;
}

/* SHAPE as a JSON schema. -E_INVAL: it breaks the notation (a bug in a table). */
static int api_schema_parse(const char *shape, struct arena *a, struct val *out)
{
	struct parser p = { shape, a, 0 };
	int rc = parse_choice(&p, out);

	skip(&p);
	return rc < 0 ? rc : *p.at ? broken(&p, "the end") : 0;
}

/* --- the document ------------------------------------------------------------------------------------------------------ */

static struct val shape_of(struct arena *a, const char *shape)
{
	struct val v;
	int rc = api_schema_parse(shape, a, &v);

	assert(rc == 0);
	return v;
}

static struct val parameters_of(struct arena *a, const char *params)
{
	struct val shape = shape_of(a, params), list = val_list();
	const struct val *properties = val_get_lit(&shape, "properties"), *required = val_get_lit(&shape, "required");

	for (uint32_t i = 0; i < properties->n; i++) {
		struct val p = val_obj();
		bool must = false;
		for (uint32_t k = 0; required && k < required->n; k++)
			must = must || slice_eq(required->items[k].s, properties->members[i].key);
		val_put_lit(a, &p, "name", val_str(a, properties->members[i].key));
		val_put_lit(a, &p, "in", val_cstr(a, "query"));
		val_put_lit(a, &p, "required", val_bool(must));
		val_put_lit(a, &p, "schema", properties->members[i].val);
		val_push(a, &list, p);
	}
	return list;
}

/* "text/plain: string" or just a shape, which is JSON. A media type alone: anything of it. */
static struct val content_of(struct arena *a, const char *what)
{
	struct val media = val_obj(), content = val_obj();
	struct slice s = slice_from_cstr(what);
	ptrdiff_t slash = slice_chr(s, '/');
	struct slice type = SLICE("application/json");

	if (slash > 0) {
		ptrdiff_t colon = slice_find(s, SLICE(": "));
		type = colon < 0 ? s : slice_sub(s, 0, colon);
		what = colon < 0 ? NULL : what + colon + 2;
	}
	if (what)
		val_put_lit(a, &media, "schema", shape_of(a, what));
	val_put(a, &content, type, media);
	return content;
}

static struct val described(struct arena *a, const char *text)
{
	struct val v = val_obj();

	val_put_lit(a, &v, "description", val_cstr(a, text));
	return v;
}

static struct val responses_of(struct arena *a, const struct api_endpoint *e)
{
	struct slice rest = slice_from_cstr(e->statuses), status;
	struct val responses = val_obj(), ok = described(a, "done");

	if (e->response)
		val_put_lit(a, &ok, "content", content_of(a, e->response));
	if (!e->upgrades)
		val_put_lit(a, &responses, "200", ok);
	while (rest.ptr && slice_split_next(&rest, ' ', &status))
		val_put(a, &responses, status, described(a, "refused: the text says why"));
	return responses;
}

static struct val operation_of(struct arena *a, const struct api_endpoint *e)
{
	struct val v = val_obj(), body = val_obj();

	val_put_lit(a, &v, "summary", val_cstr(a, e->summary));
	if (e->params)
		val_put_lit(a, &v, "parameters", parameters_of(a, e->params));
	if (e->request) {
		val_put_lit(a, &body, "content", content_of(a, e->request));
		val_put_lit(a, &body, "required", val_bool(true));
		val_put_lit(a, &v, "requestBody", body);
	}
	val_put_lit(a, &v, "responses", responses_of(a, e));
	return v;
}

static struct val paths_of(struct arena *a, const struct api_endpoint *table)
{
	struct val paths = val_obj();

	for (const struct api_endpoint *e = table; e->method; e++) {
		char method[16] = "";
		if (e->hidden)
			continue;
		struct val *path = (struct val *)val_get(&paths, slice_from_cstr(e->path));
		if (!path)
			path = val_put(a, &paths, slice_from_cstr(e->path), val_obj());
		for (size_t i = 0; e->method[i] && i < sizeof method - 1; i++)
			method[i] = ascii_lower(e->method[i]);
		val_put(a, path, slice_from_cstr(method), operation_of(a, e));
	}
	return paths;
}

static struct val components(struct arena *a)
{
	struct val schemes = val_obj(), basic = type_val(a, SLICE("http")), v = val_obj(), schemas = val_obj();

	val_put_lit(a, &basic, "scheme", val_cstr(a, "basic"));
	val_put_lit(a, &schemes, "basic_auth", basic);
	for (const struct api_schema *s = API_SCHEMAS; s->name; s++)
		val_put(a, &schemas, slice_from_cstr(s->name), shape_of(a, s->shape));
	val_put_lit(a, &v, "schemas", schemas);
	val_put_lit(a, &v, "securitySchemes", schemes);
	return v;
}

static struct val security(struct arena *a)
{
	struct val list = val_list(), one = val_obj(), scopes = val_list();

	val_push(a, &scopes, val_cstr(a, ""));
	val_put_lit(a, &one, "basic_auth", scopes);
	val_push(a, &list, one);
	return list;
}

void api_openapi_put(struct buf *b, const struct api_endpoint *table, const char *title)
{
	struct arena *a = arena_create();
	struct val doc = val_obj(), info = val_obj();

	val_put_lit(a, &info, "title", val_cstr(a, title));
	val_put_lit(a, &info, "version", val_cstr(a, KUMO_VERSION));
	val_put_lit(a, &doc, "openapi", val_cstr(a, "3.1.0"));
	val_put_lit(a, &doc, "info", info);
	val_put_lit(a, &doc, "paths", paths_of(a, table));
	val_put_lit(a, &doc, "components", components(a));
	val_put_lit(a, &doc, "security", security(a));
	json_put(b, &doc, JSON_PRETTY);
	arena_destroy(&a);
}

void api_openapi(struct api_call *c)
{
	c->resp->content_type = SLICE("application/json");
	api_openapi_put(&c->resp->body, api_endpoints(), API_PROCESS_KIND);
}

/* The page may load nothing from elsewhere and talk to nobody but us. */
void api_rapidoc(struct api_call *c)
{
	c->resp->content_type = SLICE("text/html; charset=utf-8");
	buf_lit(&c->resp->headers, "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
				   "form-action 'none'; base-uri 'none'; frame-ancestors 'none'\r\n");
	buf_put(&c->resp->body, RAPIDOC_HTML, sizeof RAPIDOC_HTML - 1);
}
