/* SPDX-License-Identifier: Apache-2.0 */
#include "mailauth/org_domain.h"
#include <libpsl.h>
#include "rt/sync.h"

static const psl_ctx_t *suffixes(void)
{
	static struct rt_lock lock = RT_LOCK_INIT(RANK_LEAF);
	static psl_ctx_t *ctx;
	rt_lock(&lock);
	if (!ctx)
		ctx = psl_latest(NULL);	/* the system's file, or the list in the library */
	rt_unlock(&lock);
	return ctx;
}

const char *org_domain_normal(struct slice domain, struct arena *a)
{
	while (domain.len && domain.ptr[domain.len - 1] == '.')
		domain.len--;
	for (ptrdiff_t at; (at = slice_find(domain, SLICE(".."))) >= 0;)
		domain = slice_sub(domain, (size_t)at + 2, SIZE_MAX);
	while (domain.len && domain.ptr[0] == '.')
		domain = slice_sub(domain, 1, SIZE_MAX);
	char *d = arena_strdup(a, domain);
	for (size_t i = 0; i < domain.len; i++)
		d[i] = ascii_lower(d[i]);
	return d;
}

const char *org_domain_of(const char *domain)
{
	return *domain ? psl_registrable_domain(suffixes(), domain) : NULL;
}

const char *org_domain_suffix(const char *domain)
{
	return *domain ? psl_unregistrable_domain(suffixes(), domain) : NULL;
}
