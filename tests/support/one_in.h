/* SPDX-License-Identifier: Apache-2.0 */
/* Under a sanitizer, which takes ten times as long, loops over every byte or every call look at one in so many: what
 * all of them do to the data is right or wrong in the release build; here memory is looked at. */
#ifndef T_ONE_IN_H
#define T_ONE_IN_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { T_ONE_IN = 11 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { T_ONE_IN = 11 };
#else
enum { T_ONE_IN = 1 };
#endif
#else
enum { T_ONE_IN = 1 };
#endif

#endif
