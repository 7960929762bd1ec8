/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keysource - loads what a KeySource of a policy points at: a key, a certificate, a password.
 *
 * The forms (docs: reference/keysource): the path of a file, {key_data = TEXT}, {event_name = NAME, event_args = {…}} which asks a
 * handler of the policy, {vault_mount = …, vault_path = …}.
 *
 * Thread:  shards (fibers).   Memory: appends to the caller's buffer.   Yields.
 */
#pragma once
#include "codec/opt.h"

/* 0, or a failure whose text names the source (never the data). */
int policy_key_load(const struct val *source, struct buf *out) WARN_UNUSED;
bool policy_key_source_valid(const struct val *source);		/* whether it has one of the forms */
/* A reader for option tables: checks the form and keeps the value (const struct val *). */
int policy_read_key_source(struct opt_ctx *c, const struct val *in, void *out);
