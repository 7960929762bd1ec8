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

bool queue_name_xfer(struct slice name, struct slice *target)
{
	const struct slice suffix = SLICE(".xfer.kumomta.internal");
	if (!slice_ends(name, suffix) || name.len == suffix.len)
		return false;
	*target = slice_sub(name, 0, name.len - suffix.len);
	return true;
}
