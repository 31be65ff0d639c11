/* SPDX-License-Identifier: Apache-2.0 */
/* What refusals say: where in a text something is. */
#include <stdio.h>
#include <string.h>

#include "filter/filter_int.h"

/* Puts the name of a frame before *at; false: no room. */
static bool show_frame(const pm_filter_frame *f, const char *path, char **at)
{
    char name[PM_FILTER_KEY_SHOWN + 8];
    size_t size = 0;
    if (f->key == NULL) {
        size = (size_t)snprintf(name, sizeof name, "[%zu]", f->index);
    } else {
        if (f->up->up != NULL) name[size++] = '.';
        for (size_t i = 0; i < f->size; i++) {
            const bool begins = ((uint8_t)f->key[i] & 0xc0) != 0x80; /* a code point */
            if (begins && i > PM_FILTER_KEY_SHOWN - 4) {
                for (int dots = 0; dots < 3; dots++)
                    name[size++] = '.';
                break;
            }
            name[size++] = (uint8_t)f->key[i] < 0x20 || f->key[i] == 0x7f ? '?' : f->key[i];
        }
    }
    if ((size_t)(*at - path) < size + 3) return false;
    *at -= size;
    memcpy(*at, name, size);
    return true;
}

const char *pm_filter_show(const pm_filter_frame *at, char path[PM_FILTER_SHOWN])
{
    char *from = path + PM_FILTER_SHOWN - 1;
    *from = '\0';
    for (; at->up != NULL; at = at->up) {
        if (show_frame(at, path, &from)) continue;
        from -= 3;
        memcpy(from, "...", 3);
        break;
    }
    return from;
}

/* ---- what is no JSON ---- */

typedef struct finding {
    const char *begin, *p, *end;
    char *say;
} finding;

static bool found(const finding *f, const pm_filter_frame *at, const char *what)
{
    char path[PM_FILTER_SHOWN];
    const char *shown = pm_filter_show(at, path);
    const bool unquoted = pm_filter_lacks_quotes(f->p, f->end, strcmp(what, "wants a key") == 0);
    snprintf(f->say, PM_FILTER_FAULT, "%s%snot JSON at byte %zu: %s%s", shown, *shown != '\0' ? ": " : "",
             (size_t)(f->p - f->begin), what, unquoted ? "; JSON strings need double quotes" : "");
    return true;
}

/* The next byte that is no blank; NUL: there is none. */
static char see(finding *f)
{
    f->p = pm_filter_blank(f->p, f->end);
    return f->p < f->end ? *f->p : '\0';
}

/* Over a key and its colon; `member` becomes its frame. */
static bool in_key(finding *f, pm_filter_frame *member)
{
    bool escapes;
    if (see(f) != '"') return found(f, member->up, "wants a key");
    const char *behind = pm_filter_skip_string(f->p, f->end, &escapes);
    if (behind == NULL) return found(f, member->up, "a string that is none");
    member->key = f->p + 1;
    member->size = (size_t)(behind - f->p) - 2;
    f->p = behind;
    if (see(f) != ':') return found(f, member, "wants :");
    f->p++;
    return false;
}

static bool in_scalar(finding *f, const pm_filter_frame *at)
{
    const char c = see(f);
    const bool number = (c == '-' && !(f->end - f->p > 1 && f->p[1] == 'I')) || pm_filter_digit(c);
    bool escapes;
    const char *behind = c == '\0'  ? NULL
                         : c == '"' ? pm_filter_skip_string(f->p, f->end, &escapes)
                         : number   ? pm_filter_skip_number(f->p, f->end)
                                    : pm_filter_skip_word(f->p, f->end);
    if (behind == NULL)
        return found(f, at,
                     c == '"'                           ? "a string that is none"
                     : number                           ? "a number that is none"
                     : c == 'N' || c == 'I' || c == '-' ? PM_FILTER_NO_NAN
                                                        : "wants a value");
    f->p = behind;
    return false;
}

/* frames[0] is the whole; frames[n] a member of the n-th object or array that is open, which ends with closing[n]. */
static bool in_text(finding *f, pm_filter_frame *frames, char *closing)
{
    unsigned depth = 0;
    frames[0] = (pm_filter_frame){0};
    do {
        const char c = see(f);
        if (c == '{' || c == '[') {
            pm_filter_frame *member = &frames[depth + 1];
            if (depth == PM_FILTER_MOST_NESTING)
                return found(f, &frames[depth], "more than 1,024 objects and arrays in each other");
            *member = (pm_filter_frame){.up = &frames[depth]};
            closing[++depth] = c == '{' ? '}' : ']';
            f->p++;
            if (see(f) != closing[depth]) {
                if (c == '{' && in_key(f, member)) return true;
                continue;
            }
        } else if (in_scalar(f, &frames[depth])) {
            return true;
        }
        for (; depth > 0; depth--, f->p++) { /* behind a value, or at the end of what is empty */
            const char behind = see(f);
            if (behind == closing[depth]) continue;
            if (behind != ',')
                return found(f, &frames[depth - 1], closing[depth] == '}' ? "wants , or }" : "wants , or ]");
            f->p++;
            frames[depth].index++;
            if (closing[depth] == '}' && in_key(f, &frames[depth])) return true;
            break;
        }
    } while (depth > 0);
    (void)see(f);
    return f->p < f->end && found(f, &frames[0], "wants the end");
}

/* NOLINTNEXTLINE(readability-non-const-parameter): it is written */
bool pm_filter_find_fault(const char *text, size_t size, char say[PM_FILTER_FAULT])
{
    finding f = {text, text, text + size, say};
    pm_filter_frame *frames = pm_calloc(PM_FILTER_MOST_NESTING + 1, sizeof *frames);
    char closing[PM_FILTER_MOST_NESTING + 1];
    const bool is_found = frames != NULL && in_text(&f, frames, closing);
    pm_free(frames);
    return is_found;
}
