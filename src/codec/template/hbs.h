/* SPDX-License-Identifier: Apache-2.0 */
/* hbs - inside the Handlebars dialect: the syntax tree. */
#pragma once
#include "codec/template/tpl.h"

struct hbs_path {
	struct slice raw;	/* as written */
	int up;			/* "../" so many times */
	bool at;		/* "@index" */
	bool this;		/* begins with "this", "." or "./": no looking further out */
	struct slice *segs;
	size_t n;
};

struct hbs_call;
struct hbs_param {
	enum { HBS_PATH, HBS_LITERAL, HBS_CALL } kind;
	struct hbs_path path;
	struct val literal;
	struct hbs_call *call;
};
struct hbs_named {
	struct slice name;
	struct hbs_param value;
};
struct hbs_call {
	struct hbs_param head;	/* the helper's name, or the value itself */
	struct hbs_param *params;
	size_t n;
	struct hbs_named *named;
	size_t n_named;
	struct slice locals[4];	/* as |a b| */
	size_t n_locals;
};

enum hbs_kind { HBS_TEXT, HBS_VALUE, HBS_RAW_VALUE, HBS_BLOCK, HBS_PARTIAL, HBS_PARTIAL_BLOCK, HBS_INLINE };

struct hbs_list {
	struct hbs_node **items;
	size_t n;
};
struct hbs_node {
	enum hbs_kind kind;
	uint32_t line, col;
	struct slice text;	/* HBS_TEXT; indentation of HBS_PARTIAL */
	struct hbs_call *call;
	struct hbs_list body, other;
};
