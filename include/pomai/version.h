/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POMAI_VERSION_H
#define POMAI_VERSION_H

#define POMAI_VERSION_MAJOR  0
#define POMAI_VERSION_MINOR  1
#define POMAI_VERSION_PATCH  0
#define POMAI_VERSION_STRING "0.1.0"

#endif
