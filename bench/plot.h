/* SPDX-License-Identifier: Apache-2.0 */
/* Lines in an SVG file, from 0 or with both axes logarithmic. */
#ifndef POMAI_BENCH_PLOT_H
#define POMAI_BENCH_PLOT_H

#include "load.h"

struct plot_curve {
    const char *name, *colour;
    bool dashed;
    size_t n;
    const double *x, *y;
};

struct plot {
    const char *title;
    bool logarithmic; /* every x and y is above 0 */
    const struct plot_curve *curve;
    size_t curves;
    double least_x, most_x, least_y, most_y; /* plot_write finds them */
};

static inline double plot_across(const struct plot *p, double x)
{
    const double share = p->logarithmic ? log(x / p->least_x) / log(p->most_x / p->least_x)
                                        : (x - p->least_x) / (p->most_x - p->least_x);
    return 60 + 700 * share;
}

static inline double plot_down(const struct plot *p, double y)
{
    const double share = p->logarithmic ? log(y / p->least_y) / log(p->most_y / p->least_y)
                                        : (y - p->least_y) / (p->most_y - p->least_y);
    return 270 - 240 * share;
}

static inline void plot_find_bounds(struct plot *p)
{
    p->least_x = p->least_y = p->logarithmic ? INFINITY : 0;
    p->most_x = p->most_y = 0;
    for (size_t c = 0; c < p->curves; c++)
        for (size_t i = 0; i < p->curve[c].n; i++) {
            p->least_x = fmin(p->least_x, p->curve[c].x[i]);
            p->most_x = fmax(p->most_x, p->curve[c].x[i]);
            p->least_y = fmin(p->least_y, p->curve[c].y[i]);
            p->most_y = fmax(p->most_y, p->curve[c].y[i]);
        }
    if (p->logarithmic) { /* whole decades */
        p->least_x = pow(10, floor(log10(p->least_x)));
        p->least_y = pow(10, floor(log10(p->least_y)));
        p->most_x = pow(10, ceil(log10(p->most_x)));
        p->most_y = pow(10, ceil(log10(p->most_y)));
    }
    if (!(p->most_x > p->least_x)) p->most_x = p->logarithmic ? p->least_x * 10 : p->least_x + 1;
    if (!(p->most_y > p->least_y)) p->most_y = p->logarithmic ? p->least_y * 10 : p->least_y + 1;
}

static inline void plot_axes(const struct plot *p, FILE *f)
{
    const int xs = p->logarithmic ? (int)lround(log10(p->most_x / p->least_x)) : 7;
    const int ys = p->logarithmic ? (int)lround(log10(p->most_y / p->least_y)) : 4;
    char text[32];
    for (int i = 0; i <= ys; i++) {
        const double y = p->logarithmic ? p->least_y * pow(10, i) : p->least_y + (p->most_y - p->least_y) * i / ys;
        if (y < 1 && p->logarithmic)
            snprintf(text, sizeof text, "%g", y);
        else
            bench_number(text, y);
        fprintf(f,
                "<path d=\"M60 %.0f H760\" stroke=\"#ddd\"/><text x=\"54\" y=\"%.0f\" text-anchor=\"end\">%s</text>\n",
                plot_down(p, y), plot_down(p, y) + 4, text);
    }
    for (int i = 0; i <= xs; i++) {
        const double x = p->logarithmic ? p->least_x * pow(10, i) : p->least_x + (p->most_x - p->least_x) * i / xs;
        fprintf(f, "<text x=\"%.0f\" y=\"286\" text-anchor=\"middle\">%s</text>\n", plot_across(p, x),
                bench_number(text, x));
    }
}

static inline void plot_curve(const struct plot *p, FILE *f, const struct plot_curve *c)
{
    const size_t every = c->n / 300 + 1;
    fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\"%s points=\"", c->colour,
            c->dashed ? " stroke-dasharray=\"4 3\"" : "");
    for (size_t i = 0; i < c->n; i += every)
        fprintf(f, "%.1f,%.1f ", plot_across(p, c->x[i]), plot_down(p, c->y[i]));
    fprintf(f, "\"/>\n");
    for (size_t i = 0; p->logarithmic && i < c->n; i++)
        fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", plot_across(p, c->x[i]),
                plot_down(p, c->y[i]), c->colour);
}

/* Texts must not need escaping. path NULL: no plot. */
static inline void plot_write(struct plot *p, const char *path)
{
    FILE *f = path == NULL ? NULL : fopen(path, "w");
    if (f == NULL && path != NULL) load_die(path, strerror(errno));
    if (f == NULL) return;
    plot_find_bounds(p);
    fprintf(
        f,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 320\" font-family=\"sans-serif\" "
        "font-size=\"12\">\n<rect width=\"800\" height=\"320\" fill=\"white\"/>\n<text x=\"60\" y=\"18\">%s</text>\n",
        p->title);
    plot_axes(p, f);
    for (size_t c = 0; c < p->curves; c++)
        plot_curve(p, f, &p->curve[c]);
    fprintf(f, "<text x=\"60\" y=\"308\">");
    for (size_t c = 0; c < p->curves; c++)
        fprintf(f, "<tspan fill=\"%s\">%s%s</tspan>  ", p->curve[c].colour, p->curve[c].dashed ? "dashed: " : "",
                p->curve[c].name);
    fprintf(f, "</text>\n</svg>\n");
    if (fclose(f) != 0) load_die(path, strerror(errno));
}

#endif
