/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/intake.h"
#include "logs/logs.h"
#include "queue/memory.h"
#include "spool/spool.h"

enum intake intake_state(void)
{
	if (memory_is_short())
		return INTAKE_MEMORY;
	if (diskfree_is_low())
		return INTAKE_DISK;
	if (!spool_is_ready())
		return INTAKE_STARTING;
	if (spool_unhealthy_reason() != NULL)
		return INTAKE_SPOOL;
	return logs_unhealthy_reason() != NULL ? INTAKE_LOGS : INTAKE_OPEN;
}
