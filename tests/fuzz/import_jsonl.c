/* SPDX-License-Identifier: Apache-2.0 */
#include "import.h"

FUZZ_IMPORTER("jsonl", NULL)
