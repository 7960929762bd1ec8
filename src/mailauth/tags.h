/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tags - lists of tag=value of RFC 6376 3.2, as in signatures, key records and DMARC policies.
 *
 * Thread:  any.   Memory: raw slices point into the text, values without white space into the arena.   Yields: never.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

struct auth_tag {
	struct slice name;
	struct slice value;	/* white space taken out */
	struct slice raw;	/* as it stands in the text, between "=" and ";" */
};
#define AUTH_TAGS_MAX 64
struct auth_tags {
	uint32_t n;
	struct auth_tag tags[AUTH_TAGS_MAX];
};
/* -E_INVAL: no list, a name twice, too many. */
int auth_tags_parse(struct slice text, struct arena *a, struct auth_tags *out) WARN_UNUSED;
const struct auth_tag *auth_tag_find(const struct auth_tags *t, const char *name);	/* case matters; NULL: not there */
struct slice auth_tag_value(const struct auth_tags *t, const char *name);		/* SLICE_NONE: not there */
