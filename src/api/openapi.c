/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI document of the endpoint table, and a page that shows it. */
#include "kumo_version.h"
#include "api/api.h"

static struct val type_val(struct arena *a, const char *type)
{
	struct val v = val_obj();

	val_put_lit(a, &v, "type", val_cstr(a, type));
	return v;
}

static struct val schema_of(struct arena *a, const struct opt_desc *d);

static struct val field_schema(struct arena *a, const struct opt_field *f)
{
	static const char *const TYPES[] = {
		[OPT_T_BOOL] = "boolean", [OPT_T_INT] = "integer", [OPT_T_SIZE] = "integer", [OPT_T_FLOAT] = "number", [OPT_T_STR] = "string",
		[OPT_T_DURATION] = "string", [OPT_T_ENUM] = "string", [OPT_T_LIST] = "array", [OPT_T_MAP] = "object", [OPT_T_STRUCT] = "object",
		[OPT_T_VAL] = "object", [OPT_T_CUSTOM] = "string",
	};
	struct val v = f->type == OPT_T_STRUCT ? schema_of(a, f->sub) : type_val(a, TYPES[f->type]);

	if (f->type == OPT_T_LIST)
		val_put_lit(a, &v, "items", f->sub && f->sub->fields ? schema_of(a, f->sub) : type_val(a, "string"));
	if (f->type == OPT_T_ENUM) {
		struct val choices = val_list();
		for (const struct opt_choice *c = f->choices; c->name; c++)
			val_push(a, &choices, val_cstr(a, c->name));
		val_put_lit(a, &v, "enum", choices);
	}
	val_put_lit(a, &v, "description", val_cstr(a, f->help));
	return v;
}

static struct val schema_of(struct arena *a, const struct opt_desc *d)
{
	struct val v = type_val(a, "object"), properties = val_obj(), required = val_list();

	for (const struct opt_field *f = d->fields; f->name; f++) {
		val_put(a, &properties, slice_from_cstr(f->name), field_schema(a, f));
		if (f->required)
			val_push(a, &required, val_cstr(a, f->name));
	}
	if (required.n)
		val_put_lit(a, &v, "required", required);
	val_put_lit(a, &v, "properties", properties);
	return v;
}

static struct val parameters_of(struct arena *a, const struct opt_desc *d)
{
	struct val list = val_list();

	for (const struct opt_field *f = d->fields; f->name; f++) {
		struct val p = val_obj();
		val_put_lit(a, &p, "name", val_cstr(a, f->name));
		val_put_lit(a, &p, "in", val_cstr(a, "query"));
		val_put_lit(a, &p, "description", val_cstr(a, f->help));
		val_put_lit(a, &p, "required", val_bool(f->required));
		val_put_lit(a, &p, "schema", field_schema(a, f));
		val_push(a, &list, p);
	}
	return list;
}

static struct val body_of(struct arena *a, const struct opt_desc *d)
{
	struct val media = val_obj(), content = val_obj(), v = val_obj();

	val_put_lit(a, &media, "schema", schema_of(a, d));
	val_put_lit(a, &content, "application/json", media);
	val_put_lit(a, &v, "content", content);
	val_put_lit(a, &v, "required", val_bool(true));
	return v;
}

static struct val operation_of(struct arena *a, const struct api_endpoint *e)
{
	struct val v = val_obj(), ok = val_obj(), responses = val_obj();

	val_put_lit(a, &v, "summary", val_cstr(a, e->summary));
	if (e->query)
		val_put_lit(a, &v, "parameters", parameters_of(a, e->query));
	if (e->body)
		val_put_lit(a, &v, "requestBody", body_of(a, e->body));
	val_put_lit(a, &ok, "description", val_cstr(a, "done"));
	val_put_lit(a, &responses, "200", ok);
	val_put_lit(a, &v, "responses", responses);
	return v;
}

static struct val security(struct arena *a)
{
	struct val schemes = val_obj(), basic = type_val(a, "http"), components = val_obj();

	val_put_lit(a, &basic, "scheme", val_cstr(a, "basic"));
	val_put_lit(a, &schemes, "basic_auth", basic);
	val_put_lit(a, &components, "securitySchemes", schemes);
	return components;
}

void api_openapi_put(struct buf *b, const struct api_endpoint *table, const char *title)
{
	struct arena *a = arena_create();
	struct val doc = val_obj(), info = val_obj(), paths = val_obj();

	val_put_lit(a, &info, "title", val_cstr(a, title));
	val_put_lit(a, &info, "version", val_cstr(a, KUMO_VERSION));
	for (const struct api_endpoint *e = table; e->method; e++) {
		struct val *path = (struct val *)val_get(&paths, slice_from_cstr(e->path));
		char method[16] = "";
		if (!path)
			path = val_put(a, &paths, slice_from_cstr(e->path), val_obj());
		for (size_t i = 0; e->method[i] && i < sizeof method - 1; i++)
			method[i] = ascii_lower(e->method[i]);
		val_put(a, path, slice_from_cstr(method), operation_of(a, e));
	}
	val_put_lit(a, &doc, "openapi", val_cstr(a, "3.1.0"));
	val_put_lit(a, &doc, "info", info);
	val_put_lit(a, &doc, "paths", paths);
	val_put_lit(a, &doc, "components", security(a));
	struct val security_list = val_list(), basic = val_obj(), scopes = val_list();
	val_push(a, &scopes, val_cstr(a, ""));
	val_put_lit(a, &basic, "basic_auth", scopes);
	val_push(a, &security_list, basic);
	val_put_lit(a, &doc, "security", security_list);
	json_put(b, &doc, JSON_PRETTY);
	arena_destroy(&a);
}

void api_openapi(struct api_call *c)
{
	c->resp->content_type = SLICE("application/json");
	api_openapi_put(&c->resp->body, api_endpoints(), api_process_kind());
}

/* A list without foreign scripts: what a browser shows here must not come from elsewhere. */
void api_rapidoc(struct api_call *c)
{
	struct buf *b = &c->resp->body;

	c->resp->content_type = SLICE("text/html; charset=utf-8");
	buf_printf(b, "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>%s: HTTP API</title></head>\n<body><h1>HTTP API of %s</h1>\n"
		      "<p><a href=\"/api-docs/openapi.json\">OpenAPI document</a></p>\n<table>\n", api_process_kind(), api_process_kind());
	for (const struct api_endpoint *e = api_endpoints(); e->method; e++)
		buf_printf(b, "<tr><td>%s</td><td><code>%s</code></td><td>%s</td></tr>\n", e->method, e->path, e->summary);
	buf_lit(b, "</table></body></html>\n");
}
