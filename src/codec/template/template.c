/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/template/tpl.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/xalloc.h"

#define TEMPLATE_MAGIC OBJ_MAGIC('t', 'm', 'p', 'l')
#define HOOKS_MAX      8

const struct opt_choice TEMPLATE_DIALECTS[] = {
	{ "Jinja", TEMPLATE_JINJA }, { "Static", TEMPLATE_STATIC }, { "Handlebars", TEMPLATE_HANDLEBARS }, { NULL },
};

static struct {
	const char *name;
	template_filter_cb filter;
} hooks[HOOKS_MAX];

void template_add_filter(const char *name, template_filter_cb filter)
{
	size_t i = 0;
	while (i < HOOKS_MAX && hooks[i].name != NULL && strcmp(hooks[i].name, name) != 0)
		i++;
	assert(i < HOOKS_MAX);
	hooks[i].name = name;
	hooks[i].filter = filter;
}

template_filter_cb filter_hook(struct slice name)
{
	for (size_t i = 0; i < HOOKS_MAX && hooks[i].name != NULL; i++)
		if (slice_eq_cstr(name, hooks[i].name))
			return hooks[i].filter;
	return NULL;
}

static enum escape_mode escape_by_name(struct slice name)
{
	static const struct {
		const char *ending;
		enum escape_mode mode;
	} endings[] = {
		{ "html", ESCAPE_HTML }, { "htm", ESCAPE_HTML }, { "xml", ESCAPE_HTML }, { "json", ESCAPE_JSON }, { "json5", ESCAPE_JSON }, { "js", ESCAPE_JSON },
		{ "yaml", ESCAPE_JSON }, { "yml", ESCAPE_JSON },
	};
	static const struct slice outer[] = { SLICE_INIT(".j2"), SLICE_INIT(".jinja2"), SLICE_INIT(".jinja") };
	for (size_t i = 0; i < ARRAY_LEN(outer); i++)
		if (slice_ends(name, outer[i])) {
			name.len -= outer[i].len;
			break;
		}
	struct slice ending = slice_sub(name, (size_t)(slice_rchr(name, '.') + 1), SIZE_MAX);
	for (size_t i = 0; i < ARRAY_LEN(endings); i++)
		if (slice_eq_cstr(ending, endings[i].ending))
			return endings[i].mode;
	return ESCAPE_NONE;
}

int template_compile(enum template_dialect dialect, struct slice name, struct slice source, struct template **out)
{
	struct template *t = xzalloc(sizeof *t);
	OBJ_INIT(t, TEMPLATE_MAGIC);
	atomic_init(&t->refs, 1);
	t->dialect = dialect;
	t->arena = arena_create();
	t->name = arena_dup(t->arena, name);
	t->source = arena_dup(t->arena, source);
	t->escape = escape_by_name(t->name);
	int rc = dialect == TEMPLATE_JINJA ? jinja_compile(t) : dialect == TEMPLATE_HANDLEBARS ? hbs_compile(t) : 0;
	if (rc < 0)
		template_unref(&t);
	else
		*out = t;
	return rc;
}

void template_unref(struct template **tp)
{
	struct template *t = *tp;
	if (t == NULL)
		return;
	*tp = NULL;
	OBJ_CHECK(t, TEMPLATE_MAGIC);
	if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	OBJ_FINI(t, TEMPLATE_MAGIC);
	arena_destroy(&t->arena);
	free(t);
}

int template_render_with(const struct template *t, const struct val *context, template_loader_cb loader, void *loader_ctx, struct buf *out)
{
	OBJ_CHECK(t, TEMPLATE_MAGIC);
	size_t before = out->len;
	int rc = 0;
	switch (t->dialect) {
	case TEMPLATE_JINJA:
		rc = jinja_render(t, context, loader, loader_ctx, out);
		break;
	case TEMPLATE_HANDLEBARS:
		rc = hbs_render(t, context, out);
		break;
	case TEMPLATE_STATIC:
		buf_slice(out, t->source);
		break;
	}
	if (rc < 0)
		buf_truncate(out, before);
	return rc;
}

int template_render(const struct template *t, const struct val *context, struct buf *out)
{
	return template_render_with(t, context, NULL, NULL, out);
}
