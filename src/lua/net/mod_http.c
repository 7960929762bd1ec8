/* SPDX-License-Identifier: Apache-2.0 */
/* mod_http - kumo.http: clients, requests, responses, URLs. */
#include <lauxlib.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/encode.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "codec/charset.h"
#include "codec/opt.h"
#include "lua/modules.h"
#include "net/http_client.h"
#include "lua/net/http_response.h"
#include "lua/text/sigv4.h"
#include "policy/arg.h"
#include "tls/digest.h"

/* --- objects ----------------------------------------------------------------------------------------------------------- */

struct client_opts {
	struct slice user_agent;
	bool connection_verbose, accept_invalid_certs;
	int64_t pool_idle_timeout, timeout, connect_timeout;
};
static const struct opt_field CLIENT_FIELDS[] = {
	OPT_STR(struct client_opts, user_agent, NULL, "the User-Agent field"),
	OPT_BOOL(struct client_opts, connection_verbose, "false", "log connections for diagnosis"),
	OPT_DURATION(struct client_opts, pool_idle_timeout, "90s", "how long idle connections are kept"),
	OPT_DURATION(struct client_opts, timeout, "60s", "of a request"),
	OPT_BOOL(struct client_opts, accept_invalid_certs, "false", "check no certificates: dangerous"),
	OPT_END
};
static const struct opt_desc CLIENT_OPTS = { .name = "kumo.http.build_client", .fields = CLIENT_FIELDS, .size = sizeof(struct client_opts), .open = true };

struct client {
	_Atomic uint32_t refs;
	char *user_agent;
	bool verbose, insecure, closed;
	int64_t idle_ms, timeout_ms;
};
struct request {
	_Atomic uint32_t refs;
	struct client *client;
	char *method, *url;
	struct buf headers;	/* "name\0value\0" each */
	struct buf body;
	bool has_body, sent;
	int64_t timeout_ms;
};
struct response {
	_Atomic uint32_t refs;
	struct http_reply reply;
	bool taken;		/* the body was fetched */
};

static void client_unref(void *p)
{
	struct client *c = p;

	if (--c->refs)
		return;
	free(c->user_agent);
	free(c);
}

static void request_unref(void *p)
{
	struct request *r = p;

	if (--r->refs)
		return;
	client_unref(r->client);
	free(r->method);
	free(r->url);
	buf_fini(&r->headers);
	buf_fini(&r->body);
	free(r);
}

static void response_unref(void *p)
{
	struct response *r = p;

	if (--r->refs)
		return;
	http_reply_fini(&r->reply);
	free(r);
}

static void *client_ref(void *p)
{
	((struct client *)p)->refs++;
	return p;
}

static void *request_ref(void *p)
{
	((struct request *)p)->refs++;
	return p;
}

static void *response_ref(void *p)
{
	((struct response *)p)->refs++;
	return p;
}


static const struct policy_obj_type CLIENT = { .name = "HttpClient", .ref = client_ref, .unref = client_unref };
static const struct policy_obj_type REQUEST = { .name = "HttpRequest", .ref = request_ref, .unref = request_unref };
static const struct policy_obj_type RESPONSE = { .name = "HttpResponse", .ref = response_ref, .unref = response_unref };
static const struct policy_obj_type HEADERS = { .name = "HttpHeaderMap", .ref = response_ref, .unref = response_unref };

/* --- clients ----------------------------------------------------------------------------------------------------------- */

static int build_client(lua_State *L)
{
	struct client_opts o;

	policy_check_opts(L, 1, &CLIENT_OPTS, policy_arena(L), &o);
	struct client *c = xzalloc(sizeof *c);
	c->refs = 1;
	c->user_agent = o.user_agent.ptr ? xmemdup0(o.user_agent.ptr, o.user_agent.len) : NULL;
	c->verbose = o.connection_verbose;
	c->insecure = o.accept_invalid_certs;
	c->idle_ms = o.pool_idle_timeout / 1000000;
	c->timeout_ms = o.timeout / 1000000;
	policy_obj_push(L, &CLIENT, c);
	client_unref(c);
	return 1;
}

static int new_request(lua_State *L, const char *method)
{
	struct client *c = policy_obj_check(L, 1, &CLIENT);
	struct slice url = policy_check_text(L, 2);

	if (c->closed)
		policy_raisef(L, "client was closed");
	if (slice_find(url, SLICE("://")) <= 0)
		policy_raisef(L, "builder error: relative URL without a base: %s", lua_tostring(L, 2));
	struct request *r = xzalloc(sizeof *r);
	r->refs = 1;
	r->client = client_ref(c);
	r->method = xstrdup(method);
	r->url = xmemdup0(url.ptr, url.len);
	r->timeout_ms = c->timeout_ms;
	policy_obj_push(L, &REQUEST, r);
	request_unref(r);
	return 1;
}

static int client_get(lua_State *L) { return new_request(L, "GET"); }
static int client_post(lua_State *L) { return new_request(L, "POST"); }
static int client_put(lua_State *L) { return new_request(L, "PUT"); }

static int client_close(lua_State *L)
{
	((struct client *)policy_obj_check(L, 1, &CLIENT))->closed = true;
	return 0;
}

/* --- requests ---------------------------------------------------------------------------------------------------------- */

static struct request *check_request(lua_State *L)
{
	struct request *r = policy_obj_check(L, 1, &REQUEST);

	if (r->sent)
		policy_raisef(L, "request was already sent");
	return r;
}

static int self(lua_State *L)
{
	lua_pushvalue(L, 1);
	return 1;
}

static void add_header(lua_State *L, struct request *r, struct slice name, struct slice value)
{
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = name.ptr[i];
		if (c <= ' ' || c >= 127 || strchr("()<>@,;:\\\"/[]?={}", c))
			policy_raisef(L, "builder error: invalid HTTP header name");
	}
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = value.ptr[i];
		if ((c < ' ' && c != '\t') || c == 127)
			policy_raisef(L, "builder error: failed to parse header value");
	}
	if (!name.len)
		policy_raisef(L, "builder error: invalid HTTP header name");
	buf_slice(&r->headers, name);
	buf_putc(&r->headers, 0);
	buf_slice(&r->headers, value);
	buf_putc(&r->headers, 0);
}

static int request_header(lua_State *L)
{
	struct request *r = check_request(L);

	add_header(L, r, policy_check_text(L, 2), policy_check_text(L, 3));
	return self(L);
}

static int request_headers(lua_State *L)
{
	struct request *r = check_request(L);

	policy_check_table(L, 2, "table");
	for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING)
			policy_raisef(L, "headers: expected names to be strings");
		add_header(L, r, policy_check_text(L, lua_gettop(L) - 1), policy_check_text(L, lua_gettop(L)));
	}
	return self(L);
}

static void set_body(struct request *r, struct buf *b)
{
	buf_fini(&r->body);
	r->body = *b;
	r->has_body = true;
}

static int request_body(lua_State *L)
{
	struct request *r = check_request(L);
	struct buf b = { 0 };

	buf_slice(&b, policy_check_slice(L, 2));
	set_body(r, &b);
	return self(L);
}

static int request_basic_auth(lua_State *L)
{
	struct request *r = check_request(L);
	struct buf plain = { 0 }, coded = { 0 };

	buf_slice(&plain, policy_check_text(L, 2));
	buf_putc(&plain, ':');
	buf_slice(&plain, policy_opt_text(L, 3));
	buf_lit(&coded, "Basic ");
	base64_put(&coded, buf_view(&plain), BASE64_STD);
	add_header(L, r, SLICE("Authorization"), buf_view(&coded));
	buf_fini(&plain);
	buf_fini(&coded);
	return self(L);
}

static int request_bearer_auth(lua_State *L)
{
	struct request *r = check_request(L);
	struct slice token = policy_check_text(L, 2);

	add_header(L, r, SLICE("Authorization"), arena_slicef(policy_arena(L), "Bearer %.*s", SLICE_ARG(token)));
	return self(L);
}

static int request_timeout(lua_State *L)
{
	check_request(L)->timeout_ms = policy_check_duration(L, 2) / 1000000;
	return self(L);
}

/* application/x-www-form-urlencoded: a blank is "+". */
static void put_form(struct buf *b, struct slice s)
{
	size_t start = 0;

	for (size_t i = 0; i <= s.len; i++) {
		if (i < s.len && s.ptr[i] != ' ')
			continue;
		percent_put(b, slice_sub(s, start, i - start), "*-._");
		if (i < s.len)
			buf_putc(b, '+');
		start = i + 1;
	}
}

static struct val check_params(lua_State *L, int idx)
{
	struct val v;
	int rc = policy_to_val_mode(L, idx, POLICY_VAL_RAW, policy_arena(L), &v);

	if (rc < 0)
		policy_raise(L, rc);
	if (v.type != VAL_OBJ)
		policy_raisef(L, "expected a table of names and values, not a %s", val_type_name(v.type));
	val_sort(&v);
	return v;
}

static struct slice scalar_text(lua_State *L, const struct val_member *m)
{
	struct arena *a = policy_arena(L);

	switch (m->val.type) {
	case VAL_STR:
		return m->val.s;
	case VAL_INT:
		return arena_slicef(a, "%lld", (long long)m->val.i);
	case VAL_BOOL:
		return m->val.b ? SLICE("true") : SLICE("false");
	case VAL_FLOAT: {
		struct buf b = { 0 };
		json_put_float(&b, m->val.f);
		struct slice s = arena_dup(a, buf_view(&b));
		buf_fini(&b);
		return s;
	}
	default:
		policy_raisef(L, "`%.*s`: expected a string, not a %s", (int)m->key.len, m->key.ptr, val_type_name(m->val.type));
	}
}

static void put_params(lua_State *L, struct buf *b, const struct val *params)
{
	struct slice *texts = arena_alloc(policy_arena(L), (params->n + 1) * sizeof *texts);

	for (uint32_t i = 0; i < params->n; i++)	/* may raise: while there is nothing to free */
		texts[i] = scalar_text(L, &params->members[i]);
	for (uint32_t i = 0; i < params->n; i++) {
		if (i)
			buf_putc(b, '&');
		put_form(b, params->members[i].key);
		buf_putc(b, '=');
		put_form(b, texts[i]);
	}
}

static int request_form_url_encoded(lua_State *L)
{
	struct request *r = check_request(L);
	struct val params = check_params(L, 2);
	struct buf b = { 0 };

	put_params(L, &b, &params);
	add_header(L, r, SLICE("Content-Type"), SLICE("application/x-www-form-urlencoded"));
	set_body(r, &b);
	return self(L);
}

struct form_part {
	struct slice name, data, file_name;	/* file_name SLICE_NONE: a field, not a file */
};

static bool fits_quotes(struct slice s)
{
	return slice_chr(s, '"') < 0 && slice_chr(s, '\r') < 0 && slice_chr(s, '\n') < 0;
}

/* A value is a text, or a file: {data = OCTETS, file_name = TEXT}. */
static struct form_part read_part(lua_State *L, const struct val_member *m)
{
	struct form_part p = { .name = m->key };

	if (m->val.type == VAL_OBJ) {
		p.data = val_get_str(&m->val, SLICE("data"));
		p.file_name = val_get_str(&m->val, SLICE("file_name"));
		if (!p.data.ptr || !p.file_name.ptr || m->val.n != 2)
			policy_raisef(L, "form_multipart_data: `%.*s`: expected a string or {data = STRING, file_name = STRING}", SLICE_ARG(m->key));
	} else {
		p.data = scalar_text(L, m);
	}
	if (!fits_quotes(p.name) || (p.file_name.ptr && !fits_quotes(p.file_name)))
		policy_raisef(L, "form_multipart_data: a name with a quote or a line end");
	return p;
}

static void put_part(struct buf *b, const char *boundary, const struct form_part *p)
{
	buf_printf(b, "--%s\r\nContent-Disposition: form-data; name=\"%.*s\"", boundary, SLICE_ARG(p->name));
	if (p->file_name.ptr)
		buf_printf(b, "; filename=\"%.*s\"", SLICE_ARG(p->file_name));
	buf_lit(b, "\r\n");
	if (p->file_name.ptr || !utf8_valid(p->data))
		buf_lit(b, "Content-Type: application/octet-stream\r\n");
	buf_lit(b, "\r\n");
	buf_slice(b, p->data);
	buf_lit(b, "\r\n");
}

static int request_form_multipart_data(lua_State *L)
{
	struct request *r = check_request(L);
	struct val params = check_params(L, 2);
	struct form_part *parts = arena_alloc(policy_arena(L), (params.n + 1) * sizeof *parts);
	struct buf b = { 0 };
	char boundary[64];

	for (uint32_t i = 0; i < params.n; i++)
		parts[i] = read_part(L, &params.members[i]);
	snprintf(boundary, sizeof boundary, "%016llx-%016llx", (unsigned long long)rand_u64(), (unsigned long long)rand_u64());
	for (uint32_t i = 0; i < params.n; i++)
		put_part(&b, boundary, &parts[i]);
	buf_printf(&b, "--%s--\r\n", boundary);
	set_body(r, &b);
	add_header(L, r, SLICE("Content-Type"), arena_slicef(policy_arena(L), "multipart/form-data; boundary=%s", boundary));
	return self(L);
}

/* --- AWS Signature Version 4 ------------------------------------------------------------------------------------------- */

struct url_parts {
	struct slice host, path, query;		/* host with its port unless that is the scheme's; path at least "/" */
};

static struct url_parts url_split(struct slice url)
{
	size_t at = (size_t)slice_find(url, SLICE("://"));
	struct slice port = slice_starts_nocase(url, SLICE("https")) ? SLICE(":443") : SLICE(":80"), rest = slice_sub(url, at + 3, SIZE_MAX);
	struct url_parts u = { .path = SLICE("/") };
	ptrdiff_t cut = slice_chr(rest, '#');

	rest = slice_sub(rest, 0, cut < 0 ? SIZE_MAX : (size_t)cut);
	cut = slice_chr(rest, '?');
	if (cut >= 0)
		u.query = slice_sub(rest, (size_t)cut + 1, SIZE_MAX);
	rest = slice_sub(rest, 0, cut < 0 ? SIZE_MAX : (size_t)cut);
	cut = slice_chr(rest, '/');
	if (cut >= 0)
		u.path = slice_sub(rest, (size_t)cut, SIZE_MAX);
	u.host = slice_sub(rest, 0, cut < 0 ? SIZE_MAX : (size_t)cut);
	cut = slice_rchr(u.host, '@');
	u.host = slice_sub(u.host, cut < 0 ? 0 : (size_t)cut + 1, SIZE_MAX);
	if (slice_ends(u.host, port))
		u.host.len -= port.len;
	return u;
}

static void set_field(lua_State *L, const char *name, struct slice s)
{
	policy_push_slice(L, s.len ? s : SLICE(""));
	lua_setfield(L, -2, name);
}

static void push_copy(lua_State *L, int idx)
{
	lua_newtable(L);
	if (!lua_istable(L, idx))
		return;
	for (lua_pushnil(L); lua_next(L, idx); ) {
		lua_pushvalue(L, -2);
		lua_insert(L, -2);
		lua_rawset(L, -4);
	}
}

static void push_query(lua_State *L, struct slice query)
{
	struct buf name = { 0 }, value = { 0 };

	lua_newtable(L);
	while (http1_query_next(&query, &name, &value)) {
		policy_push_slice(L, name.len ? buf_view(&name) : SLICE(""));
		policy_push_slice(L, value.len ? buf_view(&value) : SLICE(""));
		lua_rawset(L, -3);
	}
	buf_fini(&name);
	buf_fini(&value);
}

/* The parameters of kumo.crypto.aws_sign_v4: those at argument 2, and what the request itself tells. */
static void push_sign_params(lua_State *L, const struct request *r)
{
	struct url_parts u = url_split(slice_from_cstr(r->url));
	bool has_host = false;

	push_copy(L, 2);
	set_field(L, "method", slice_from_cstr(r->method));
	set_field(L, "uri", u.path);
	push_query(L, u.query);
	lua_setfield(L, -2, "query_params");
	lua_getfield(L, -1, "headers");
	push_copy(L, lua_gettop(L));
	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
		has_host |= lua_type(L, -2) == LUA_TSTRING && slice_eq_nocase(slice_from_cstr(lua_tostring(L, -2)), SLICE("host"));
	if (!has_host)
		set_field(L, "host", u.host);
	lua_remove(L, -2);
	lua_setfield(L, -2, "headers");
}

/* Sends along what was signed besides the fields that the policy named itself. */
static void add_signature(lua_State *L, struct request *r, int params, int result)
{
	static const char *const FROM[][2] = {
		{ "Authorization", "authorization" }, { "X-Amz-Date", "timestamp" },
	};

	for (size_t i = 0; i < ARRAY_LEN(FROM); i++) {
		if (lua_getfield(L, result, FROM[i][1]) == LUA_TSTRING)
			add_header(L, r, slice_from_cstr(FROM[i][0]), policy_check_text(L, lua_gettop(L)));
		lua_pop(L, 1);
	}
	if (lua_getfield(L, params, "session_token") == LUA_TSTRING)
		add_header(L, r, SLICE("X-Amz-Security-Token"), policy_check_text(L, lua_gettop(L)));
	lua_pop(L, 1);
	if (lua_getfield(L, params, "service") == LUA_TSTRING && strcmp(lua_tostring(L, -1), "s3") == 0) {
		uint8_t md[TLS_MD_MAX];
		struct buf hex = { 0 };
		struct slice body = lua_getfield(L, params, "payload") == LUA_TSTRING ? policy_check_slice(L, lua_gettop(L)) : SLICE("");
		hex_put(&hex, slice_new(md, tls_digest(TLS_SHA256, body, md)), false);
		add_header(L, r, SLICE("X-Amz-Content-Sha256"), buf_view(&hex));
		buf_fini(&hex);
	}
}

static int request_aws_sign_v4(lua_State *L)
{
	struct request *r = check_request(L);

	policy_check_table(L, 2, "table");
	lua_pushcfunction(L, lua_aws_sign_v4);
	push_sign_params(L, r);
	lua_call(L, 1, 1);
	add_signature(L, r, 2, lua_gettop(L));
	return self(L);
}

/* --- sending ----------------------------------------------------------------------------------------------------------- */

static size_t list_headers(lua_State *L, const struct request *r, struct http1_header **out)
{
	struct slice rest = buf_view(&r->headers), name;
	size_t n = 0;

	*out = arena_alloc(policy_arena(L), (r->headers.len / 2 + 1) * sizeof **out);
	while (rest.len && slice_split_next(&rest, 0, &name)) {
		(*out)[n].name = name;
		if (!slice_split_next(&rest, 0, &(*out)[n].value))
			break;
		n++;
	}
	return n;
}

static int request_send(lua_State *L)
{
	struct request *r = check_request(L);
	struct http1_header *headers;
	struct http_fetch f = { .method = r->method, .url = r->url, .user_agent = r->client->user_agent, .timeout_ms = r->timeout_ms,
				.idle_ms = r->client->idle_ms, .insecure = r->client->insecure, .verbose = r->client->verbose };
	struct http_reply reply;

	r->sent = true;
	f.n_headers = list_headers(L, r, &headers);
	f.headers = headers;
	if (r->has_body) {
		buf_reserve(&r->body, 1);
		f.body = buf_view(&r->body);
	}
	int rc = http_fetch(&f, &reply);
	if (rc < 0)
		return policy_raise(L, rc == -E_TIMEOUT ? -E_IO : rc);
	lua_push_http_response(L, &reply);
	return 1;
}

/* --- responses --------------------------------------------------------------------------------------------------------- */

void lua_push_http_response(lua_State *L, const struct http_reply *reply)
{
	struct response *r = xzalloc(sizeof *r);

	r->refs = 1;
	r->reply = *reply;
	policy_obj_push(L, &RESPONSE, r);
	response_unref(r);
}

static struct response *check_response(lua_State *L)
{
	return policy_obj_check(L, 1, &RESPONSE);
}

/* The body can be fetched once; what is known from the head stays. */
static struct response *take_body(lua_State *L)
{
	struct response *r = check_response(L);

	if (r->taken)
		policy_raisef(L, "response has already been consumed");
	r->taken = true;
	return r;
}

static int status_code(lua_State *L)
{
	lua_pushinteger(L, check_response(L)->reply.status);
	return 1;
}

static int status_reason(lua_State *L)
{
	const char *reason = http1_reason(check_response(L)->reply.status);

	if (strcmp(reason, "Unknown") == 0)
		lua_pushnil(L);
	else
		lua_pushstring(L, reason);
	return 1;
}

static int in_class(lua_State *L, int hundreds)
{
	lua_pushboolean(L, check_response(L)->reply.status / 100 == hundreds);
	return 1;
}

static int is_informational(lua_State *L) { return in_class(L, 1); }
static int is_success(lua_State *L) { return in_class(L, 2); }
static int is_redirection(lua_State *L) { return in_class(L, 3); }
static int is_client_error(lua_State *L) { return in_class(L, 4); }
static int is_server_error(lua_State *L) { return in_class(L, 5); }

static int response_headers(lua_State *L)
{
	policy_obj_push(L, &HEADERS, check_response(L));
	return 1;
}

static int content_length(lua_State *L)
{
	struct response *r = check_response(L);
	uint64_t n;

	if (slice_to_u64(http_reply_header(&r->reply, SLICE("content-length")), &n) == 0)
		lua_pushinteger(L, (lua_Integer)n);
	else
		lua_pushnil(L);
	return 1;
}

static int response_bytes(lua_State *L)
{
	struct response *r = take_body(L);

	policy_push_slice(L, r->reply.body.len ? buf_view(&r->reply.body) : SLICE(""));
	return 1;
}

/* charset=… of a content type; none where there is no such parameter. */
static struct slice charset_of(struct slice type)
{
	struct slice rest = type, part;

	while (slice_split_next(&rest, ';', &part)) {
		part = slice_trim(part);
		if (!slice_starts_nocase(part, SLICE("charset=")))
			continue;
		part = slice_sub(part, 8, SIZE_MAX);
		if (part.len > 1 && part.ptr[0] == '"')
			part = slice_sub(part, 1, part.len - 2);
		return part;
	}
	return SLICE_NONE;
}

static int response_text(lua_State *L)
{
	struct response *r = take_body(L);
	struct slice body = buf_view(&r->reply.body), charset = charset_of(http_reply_header(&r->reply, SLICE("content-type")));
	struct buf text = { 0 };

	if (slice_starts(body, SLICE("\357\273\277")))
		body = slice_sub(body, 3, SIZE_MAX);
	else if (charset.len && !slice_eq_nocase(charset, SLICE("utf-8")) && charset_to_utf8(charset, body, &text) == 0)
		body = buf_view(&text);
	if (body.ptr != text.ptr || !text.ptr)
		utf8_put_lossy(&text, body);
	policy_push_slice(L, text.len ? buf_view(&text) : SLICE(""));
	buf_fini(&text);
	return 1;
}

static int headers_index(lua_State *L)
{
	struct response *r = policy_obj_check(L, 1, &HEADERS);

	policy_push_slice(L, http_reply_header(&r->reply, policy_check_text(L, 2)));
	return 1;
}

static int headers_next(lua_State *L)
{
	struct response *r = policy_obj_check(L, lua_upvalueindex(1), &HEADERS);
	lua_Integer at = lua_tointeger(L, lua_upvalueindex(2));
	struct slice rest = slice_sub(buf_view(&r->reply.headers), (size_t)at, SIZE_MAX);
	struct http1_header h;

	if (!rest.len || !http_reply_header_next(&rest, &h))
		return 0;
	lua_pushinteger(L, rest.ptr ? (lua_Integer)(rest.ptr - r->reply.headers.ptr) : (lua_Integer)r->reply.headers.len);
	lua_replace(L, lua_upvalueindex(2));
	char *name = arena_strdup(policy_arena(L), h.name);
	for (char *c = name; *c; c++)
		*c = ascii_lower(*c);
	lua_pushstring(L, name);
	policy_push_slice(L, h.value.len ? h.value : SLICE(""));
	return 2;
}

static int headers_pairs(lua_State *L)
{
	lua_pushvalue(L, 1);
	lua_pushinteger(L, 0);
	lua_pushcclosure(L, headers_next, 2);
	return 1;
}

/* --- URLs -------------------------------------------------------------------------------------------------------------- */

static int build_url(lua_State *L)
{
	struct slice base = policy_check_text(L, 1), fragment = SLICE_NONE;
	struct val params = check_params(L, 2);
	struct buf b = { 0 };
	ptrdiff_t at = slice_find(base, SLICE("://"));

	if (at <= 0)
		policy_raisef(L, "relative URL without a base: %s", lua_tostring(L, 1));
	if ((at = slice_chr(base, '#')) >= 0) {
		fragment = slice_sub(base, at, SIZE_MAX);
		base = slice_sub(base, 0, at);
	}
	buf_slice(&b, base);
	struct slice rest = slice_sub(base, slice_find(base, SLICE("://")) + 3, SIZE_MAX);
	if (slice_chr(rest, '/') < 0 && slice_chr(rest, '?') < 0)
		buf_putc(&b, '/');
	if (params.n) {
		bool query = slice_chr(base, '?') >= 0;
		if (!query)
			buf_putc(&b, '?');
		else if (b.ptr[b.len - 1] != '?' && b.ptr[b.len - 1] != '&')
			buf_putc(&b, '&');
		put_params(L, &b, &params);
	}
	buf_slice(&b, fragment);
	policy_push_slice(L, buf_view(&b));
	buf_fini(&b);
	return 1;
}

static const struct luaL_Reg CLIENT_METHODS[] = { { "get", client_get }, { "post", client_post }, { "put", client_put }, { "close", client_close }, { NULL, NULL } };
static const struct luaL_Reg REQUEST_METHODS[] = {
	{ "header", request_header }, { "headers", request_headers }, { "body", request_body }, { "basic_auth", request_basic_auth },
	{ "bearer_auth", request_bearer_auth }, { "timeout", request_timeout }, { "form_url_encoded", request_form_url_encoded },
	{ "form_multipart_data", request_form_multipart_data }, { "aws_sign_v4", request_aws_sign_v4 }, { "send", request_send }, { NULL, NULL },
};
static const struct luaL_Reg RESPONSE_METHODS[] = {
	{ "status_code", status_code }, { "status_reason", status_reason }, { "status_is_informational", is_informational },
	{ "status_is_success", is_success }, { "status_is_redirection", is_redirection }, { "status_is_client_error", is_client_error },
	{ "status_is_server_error", is_server_error }, { "headers", response_headers }, { "content_length", content_length },
	{ "bytes", response_bytes }, { "text", response_text }, { NULL, NULL },
};
static const struct luaL_Reg HEADERS_METHODS[] = { { "__index", headers_index }, { "__pairs", headers_pairs }, { NULL, NULL } };
static const struct luaL_Reg FUNCTIONS[] = { { "build_client", build_client }, { "build_url", build_url }, { NULL, NULL } };
extern const struct policy_module mod_http;
const struct policy_module mod_http = { .name = "kumo.http", .functions = FUNCTIONS };

void mod_http_register(void)
{
	policy_obj_methods(&CLIENT, CLIENT_METHODS);
	policy_obj_methods(&REQUEST, REQUEST_METHODS);
	policy_obj_methods(&RESPONSE, RESPONSE_METHODS);
	policy_obj_methods(&HEADERS, HEADERS_METHODS);
}
