/* SPDX-License-Identifier: Apache-2.0 */
/* modules - what this folder's files offer to the program's table of modules. Thread: registration is before threads start. */
#pragma once
#include "policy/host.h"

extern const struct policy_module mod_kumo, mod_serde, mod_serde_aliases, mod_time, mod_memoize, mod_mpsc, mod_counter_series, mod_secrets, mod_cidr, mod_domain_map,
	mod_file_type, mod_fs, mod_fs_aliases, mod_crypto, mod_redis, mod_sqlite, mod_regex, mod_regex_old, mod_regex_set_map, mod_string, mod_encode, mod_digest, mod_uuid;

void mod_memoize_register(void);
void mod_mpsc_register(void);
void mod_counter_series_register(void);
void mod_cidr_register(void);
void mod_domain_map_register(void);
void mod_regex_register(void);
void mod_regex_set_map_register(void);
void mod_digest_register(void);
void mod_uuid_register(void);
void mod_fs_register(void);
void mod_string_register(void);
void mod_sqlite_register(void);
void mod_redis_register(void);

extern const struct policy_module mod_smtp;
void mod_smtp_register(void);
