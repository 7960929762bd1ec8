/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template - text with holes: HTTP injection bodies, log formats, string.eval_template.
 *
 * Two dialects with nothing in common but their use: Jinja as minijinja understands it, Handlebars as the Rust crate of that name
 * does, and Static, which is no template at all. A template is compiled once and rendered many times; senders choose both text and
 * context, so that rendering is bounded in steps, output, memory and depth.
 *
 * Thread:  a compiled template is immutable and reference-counted; any thread may render it.
 * Memory:  rendering takes an arena of its own and drops it.
 * Yields:  never. What a render takes at most is bounded by TEMPLATE_STEPS_MAX; the hooks must not yield either.
 */
#pragma once
#include "codec/opt.h"

enum template_dialect { TEMPLATE_JINJA, TEMPLATE_STATIC, TEMPLATE_HANDLEBARS };
extern const struct opt_choice TEMPLATE_DIALECTS[];	/* "Jinja", "Static", "Handlebars" */

#define TEMPLATE_STEPS_MAX  5000000
#define TEMPLATE_OUTPUT_MAX (64u << 20)
#define TEMPLATE_ARENA_MAX  (128u << 20)

struct template;

/* Finds what {% extends %}, {% include %} and {% import %} name: a compiled template with a reference for the caller, or NULL. */
typedef struct template *(*template_loader_cb)(void *ctx, struct slice name);

/*
 * NAME is the "file name": its ending chooses the escaping (html htm xml; json json5 js yaml yml; else none), errors end in it:
 * "syntax error: unexpected end of input, expected end of block (in NAME:LINE)".
 */
int template_compile(enum template_dialect dialect, struct slice name, struct slice source, struct template **out) WARN_UNUSED;
void template_unref(struct template **t);

/* Appends to OUT; on failure OUT is as before. CONTEXT: an object; anything else counts as an empty one. */
int template_render(const struct template *t, const struct val *context, struct buf *out) WARN_UNUSED;
int template_render_with(const struct template *t, const struct val *context, template_loader_cb loader, void *loader_ctx, struct buf *out) WARN_UNUSED;

/* A Jinja filter of a higher layer, from text to text. Before the first template is compiled; NAME is kept. */
typedef void (*template_filter_cb)(struct buf *out, struct slice in);
void template_add_filter(const char *name, template_filter_cb filter);
