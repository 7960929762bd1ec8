/* SPDX-License-Identifier: Apache-2.0 */
/*
 * modules - what this folder's files do once at start: object types, events, metrics. The tables of functions, and the order, stand in
 * kumod/modules.c.
 *
 * Thread:  before threads start.   Memory: static.   Yields: never.
 */
#pragma once

void mod_aaa_register(void);
void mod_api_admin_register(void);
void mod_cidr_register(void);
void mod_counter_series_register(void);
void mod_digest_register(void);
void mod_dkim_register(void);
void mod_domain_map_register(void);
void mod_fs_register(void);
void mod_http_register(void);
void mod_jsonl_register(void);
void mod_memoize_register(void);
void mod_message_register(void);
void mod_mpsc_register(void);
void mod_queue_register(void);
void mod_redis_register(void);
void mod_regex_register(void);
void mod_regex_set_map_register(void);
void mod_shaping_register(void);
void mod_smtp_register(void);
void mod_sqlite_register(void);
void mod_string_register(void);
void mod_throttle_register(void);
void mod_time_register(void);
void mod_uuid_register(void);
void mod_websocket_register(void);
