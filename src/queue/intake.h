/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intake - whether mail can be taken now, and if not, why: what SMTP, HTTP and the liveness check answer by.
 *
 * Thread:  any; a few atomic loads.   Memory: none.   Yields: never.
 */
#pragma once

enum intake { INTAKE_OPEN, INTAKE_MEMORY, INTAKE_DISK, INTAKE_STARTING, INTAKE_SPOOL, INTAKE_LOGS, INTAKE_STATES };
enum intake intake_state(void);
