/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nodeid - the id of this node of a cluster, as it stands in log records.
 *
 * From KUMO_NODE_ID, else from the file KUMO_NODE_ID_PATH (/opt/kumomta/etc/.nodeid), which is made when it is missing; where it cannot be
 * made, an id that follows from this machine's network card.
 *
 * Thread:  nodeid_init before the others start, then any.   Memory: by value.   Yields: never.
 */
#pragma once
#include "base/err.h"
#include "base/uuid.h"

int nodeid_init(void) WARN_UNUSED;	/* -E_INVAL: what was given is no UUID */
struct uuid nodeid(void);
const char *nodeid_text(void);		/* 8-4-4-4-12 */
