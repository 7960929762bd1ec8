/* SPDX-License-Identifier: Apache-2.0 */
/*
 * org_domain - what the Public Suffix List says of a domain: the part anybody can register below, and the domain that is registered.
 *
 * The list is the system's, or the one in the library.
 *
 * Thread:  any.   Memory: results point into DOMAIN.   Yields: never.
 */
#pragma once
#include "base/arena.h"

/* Small letters, no dots at the ends, and nothing that stands before an empty label: what the functions below want. */
const char *org_domain_normal(struct slice domain, struct arena *a);
const char *org_domain_of(const char *domain);		/* "example.co.uk" of "mail.example.co.uk"; NULL: a public suffix itself, or nothing */
const char *org_domain_suffix(const char *domain);	/* "co.uk"; NULL: nothing */
