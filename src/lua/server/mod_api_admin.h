/* SPDX-License-Identifier: Apache-2.0 */
/* mod_api_admin - kumo.api.admin; see mod_api_admin.c. */
#pragma once

void mod_api_admin_register(void);
