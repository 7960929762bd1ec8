/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/name.h"

void queue_name_parse(struct slice name, struct queue_name *out)
{
	struct slice rest = name;
	ptrdiff_t at = slice_chr(name, '@'), bang;

	*out = (struct queue_name){ 0 };
	if (at >= 0) {
		struct slice left = slice_sub(name, 0, at);
		ptrdiff_t colon = slice_chr(left, ':');
		if (colon >= 0)
			out->campaign = slice_sub(left, 0, colon);
		out->tenant = slice_sub(left, colon + 1, SIZE_MAX);
		if (!out->tenant.ptr)
			out->tenant = SLICE("");
		rest = slice_sub(name, at + 1, SIZE_MAX);
	}
	bang = slice_chr(rest, '!');
	out->domain = bang >= 0 ? slice_sub(rest, 0, bang) : rest;
	if (bang >= 0)
		out->routing_domain = slice_sub(rest, bang + 1, SIZE_MAX);
	if (!out->domain.ptr)
		out->domain = SLICE("");
}

bool queue_name_reserved(struct slice name, enum queue_proto *proto)
{
	static const struct {
		const char *name;
		enum queue_proto proto;
	} reserved[] = {
		{ "null", PROTO_NULL },
		{ "generator.kumomta.internal", PROTO_HTTP_GENERATOR },
		{ "deferred_smtp_inject.kumomta.internal", PROTO_DEFERRED_SMTP },
	};
	for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
		if (slice_eq_cstr(name, reserved[i].name)) {
			*proto = reserved[i].proto;
			return true;
		}
	}
	return false;
}

static const struct slice XFER_SUFFIX = SLICE_INIT(".xfer.kumomta.internal");

bool queue_name_xfer(struct slice name, struct slice *target)
{
	if (!slice_ends(name, XFER_SUFFIX) || name.len == XFER_SUFFIX.len)
		return false;
	*target = slice_sub(name, 0, name.len - XFER_SUFFIX.len);
	return true;
}

static bool url_is_clean(struct slice url)
{
	for (size_t i = 0; i < url.len; i++)
		if ((unsigned char)url.ptr[i] <= ' ' || url.ptr[i] == 127)
			return false;
	return true;
}

int queue_name_xfer_put(struct buf *b, struct slice url)
{
	const bool secure = slice_starts_nocase(url, SLICE("https://"));
	struct slice rest = slice_sub(url, secure ? 8 : 7, SIZE_MAX), port = secure ? SLICE(":443") : SLICE(":80");
	ptrdiff_t slash = slice_chr(rest, '/');
	struct slice host = slice_sub(rest, 0, slash < 0 ? SIZE_MAX : (size_t)slash);

	if (!secure && !slice_starts_nocase(url, SLICE("http://")))
		return err_set(E_INVAL, "`%.*s` is not an http or https URL", SLICE_ARG(url));
	if (slice_ends(host, port))
		host.len -= port.len;
	if (host.len == 0 || host.ptr[0] == ':' || !url_is_clean(url))
		return err_set(E_INVAL, "`%.*s` is not the URL of a node, such as http://10.0.0.1:8000", SLICE_ARG(url));
	buf_printf(b, "%s://", secure ? "https" : "http");
	for (size_t i = 0; i < host.len; i++)
		buf_putc(b, ascii_lower(host.ptr[i]));
	buf_slice(b, slash < 0 ? SLICE("/") : slice_sub(rest, (size_t)slash, SIZE_MAX));
	buf_slice(b, XFER_SUFFIX);
	return 0;
}
