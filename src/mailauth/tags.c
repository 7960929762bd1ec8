/* SPDX-License-Identifier: Apache-2.0 */
#include "mailauth/tags.h"

static struct slice without_space(struct slice s, struct arena *a)
{
	char *out = arena_alloc(a, s.len + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_space(s.ptr[i]))
			out[n++] = s.ptr[i];
	return slice_new(out, n);
}

static bool is_name(struct slice s)
{
	if (s.len == 0 || !ascii_is_alpha(s.ptr[0]))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_alnum(s.ptr[i]) && s.ptr[i] != '_')
			return false;
	return true;
}

int auth_tags_parse(struct slice text, struct arena *a, struct auth_tags *out)
{
	struct slice part;
	out->n = 0;
	while (slice_split_next(&text, ';', &part)) {
		ptrdiff_t eq = slice_chr(part, '=');
		struct slice name = slice_trim(slice_sub(part, 0, eq < 0 ? part.len : (size_t)eq));
		if (slice_trim(part).len == 0 && text.ptr == NULL && out->n > 0)
			break;	/* a semicolon behind the last one */
		if (eq < 0 || !is_name(name))
			return err_set(E_INVAL, "Parsing failed at `%.*s`: expected tag=value", (int)MIN(part.len, (size_t)80), part.ptr);
		for (uint32_t i = 0; i < out->n; i++)
			if (slice_eq(out->tags[i].name, name))
				return err_set(E_INVAL, "Parsing failed: the tag %.*s stands there twice", SLICE_ARG(name));
		if (out->n == AUTH_TAGS_MAX)
			return err_set(E_INVAL, "Parsing failed: over %d tags", AUTH_TAGS_MAX);
		struct slice raw = slice_sub(part, eq + 1, SIZE_MAX);
		out->tags[out->n++] = (struct auth_tag){ name, without_space(raw, a), raw };
	}
	return out->n > 0 ? 0 : err_set(E_INVAL, "Parsing failed: the list is empty");
}

const struct auth_tag *auth_tag_find(const struct auth_tags *t, const char *name)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (slice_eq_cstr(t->tags[i].name, name))
			return &t->tags[i];
	return NULL;
}

struct slice auth_tag_value(const struct auth_tags *t, const char *name)
{
	const struct auth_tag *tag = auth_tag_find(t, name);
	return tag != NULL ? tag->value : SLICE_NONE;
}
