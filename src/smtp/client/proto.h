/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto - SMTP and LMTP as a delivery protocol of the queues (queue/ready/dispatch.h).
 *
 * Thread:  proto_smtp_register before queue_start.   Memory: none.   Yields: never.
 */
#pragma once
void proto_smtp_register(void);
