/* SPDX-License-Identifier: Apache-2.0 */
/* auth - who makes a request: the trusted networks of the listener and the Authorization header. Thread: fibers. Memory: the call's arena. Yields. */
#pragma once
#include "api/aaa.h"
#include "api/api.h"

/* Fills C's auth. False: the response says what is wrong with the credentials. TRUSTED: the peer is in trusted_hosts. Yields. */
bool api_authenticate(struct api_call *c, bool trusted);
void api_auth_register(void);
