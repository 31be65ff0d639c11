/* SPDX-License-Identifier: Apache-2.0 */
/* The module: its state, types and functions. */
#include "core.h"

pm_py_state *pm_py_state_of(PyObject *module)
{
    return PyModule_GetState(module);
}

PyObject *pm_py_helper(pm_py_state *state, const char *name)
{
    if (state->helpers == NULL) state->helpers = PyImport_ImportModule("pomai._helpers");
    return state->helpers == NULL ? NULL : PyObject_GetAttrString(state->helpers, name);
}

PyObject *pm_py_help(pm_py_state *state, const char *name, ...)
{
    PyObject *function = pm_py_helper(state, name);
    PyObject *given[9] = {NULL}, *made = NULL;
    va_list arguments;
    if (function == NULL) return NULL;
    va_start(arguments, name);
    for (int i = 0; i < 8 && (given[i] = va_arg(arguments, PyObject *)) != NULL; i++) {
    }
    va_end(arguments);
    made = PyObject_CallFunctionObjArgs(function, given[0], given[1], given[2], given[3], given[4], given[5], given[6],
                                        given[7], NULL);
    Py_DECREF(function);
    return made;
}

PyObject *pm_py_no_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    (void)args;
    (void)keywords;
    PyErr_Format(PyExc_TypeError, "%R is not made directly: begin with pomai.open()", type);
    return NULL;
}

PyObject *pm_py_no_pickle(PyObject *self, PyObject *none)
{
    (void)none;
    PyErr_Format(
        PyExc_TypeError,
        "%R cannot be pickled or copied: it belongs to this process. Hand over the path, and open it read-only "
        "there; or hand over .ids and .distances",
        Py_TYPE(self));
    return NULL;
}

/* Objects of heap types hold a reference to their type. */
void pm_py_free_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc free_it = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_it(self);
    Py_DECREF((PyObject *)type);
}

static int make_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base, PyTypeObject **out)
{
    *out = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    return *out == NULL ? -1 : PyModule_AddType(module, *out);
}

static int execute(PyObject *module)
{
    pm_py_state *s = pm_py_state_of(module);
    bool failed = pm_py_wait_init() != 0 || pm_py_errors_load(s) != 0 ||
                  make_type(module, &pm_py_collection_spec, NULL, &s->collection) != 0 ||
                  make_type(module, &pm_py_database_spec, s->collection, &s->database) != 0 ||
                  make_type(module, &pm_py_snapshot_spec, NULL, &s->snapshot) != 0 ||
                  make_type(module, &pm_py_block_spec, NULL, &s->block) != 0 ||
                  make_type(module, &pm_py_view_spec, NULL, &s->view) != 0 ||
                  make_type(module, &pm_py_answer_spec, NULL, &s->answer) != 0 ||
                  make_type(module, &pm_py_result_spec, NULL, &s->result) != 0 ||
                  make_type(module, &pm_py_results_spec, NULL, &s->results) != 0 ||
                  make_type(module, &pm_py_hit_spec, NULL, &s->hit) != 0 ||
                  make_type(module, &pm_py_rows_spec, NULL, &s->rows) != 0 ||
                  make_type(module, &pm_py_row_spec, NULL, &s->row) != 0 ||
                  make_type(module, &pm_py_scan_spec, NULL, &s->scan) != 0 ||
                  PyModule_AddStringConstant(module, "__version__", pomai_version()) != 0;
    return failed ? -1 : 0;
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
    pm_py_state *s = pm_py_state_of(module);
    PyTypeObject *types[] = {s->collection, s->database, s->snapshot, s->block, s->view, s->answer,
                             s->result,     s->results,  s->rows,     s->row,   s->hit,  s->scan};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        Py_VISIT((PyObject *)types[i]);
    Py_VISIT(s->errors);
    Py_VISIT(s->base_error);
    Py_VISIT(s->type_error);
    Py_VISIT(s->fork_error);
    Py_VISIT(s->closed_error);
    Py_VISIT(s->helpers);
    Py_VISIT(s->filter);
    Py_VISIT(s->shown);
    Py_VISIT(s->asarray);
    Py_VISIT((PyObject *)s->unmasked);
    return 0;
}

static PyObject *simd_level(PyObject *module, PyObject *none)
{
    (void)module;
    (void)none;
    return PyUnicode_FromString(pomai_simd_level());
}

static PyMethodDef functions[] = {
    {"open", FAST(pm_py_open),
     "open($module, /, path, flags=0, shards=0, group_ms=0, search_threads=0, mailbox_slots=0, wal_file_bytes=0,\n"
     "     flush_bytes=0, log_bytes=0, freeze_rows=0, segment_bytes=0, compact_rate=0, scrub_rate=0,\n"
     "     watch_share=0, build_threads=0, durability='default')\n--\n\nOpens a database; pomai.open() is the one to "
     "call."},
    {"document_columns", FAST(pm_py_document_columns),
     "document_columns($module, /, documents, paths=None)\n--\n\nThe two capsules of a struct array; for to_arrow()."},
    {"is_every_row", pm_py_is_every_row, METH_O,
     "is_every_row($module, filters, /)\n--\n\nWhether a filter matches whatever rows have; for python -m pomai."},
    {"verify", FAST(pm_py_verify),
     "verify($module, /, path, progress=None)\n--\n\nChecks a database; pomai.verify() is the one to call."},
    {"salvage", FAST(pm_py_salvage),
     "salvage($module, /, source, target, progress=None)\n--\n\n"
     "Copies what is intact; pomai.salvage() is the one to call."},
    {"simd_level", simd_level, METH_NOARGS,
     "simd_level($module, /)\n--\n\nThe instruction set the distance kernels use here: 'scalar', 'avx2', 'avxvnni', "
     "'avx512', 'avx512vnni', 'amx', 'neon' or 'neondot'.\n\n"
     ">>> pomai.simd_level() in ('scalar', 'avx2', 'avxvnni', 'avx512', 'avx512vnni', 'amx', 'neon', "
     "'neondot')\nTrue\n"},
    {"close_all", pm_py_close_all, METH_NOARGS, "close_all($module, /)\n--\n\nCloses every database; at exit."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "pomai._core",
    "The extension under pomai.",
    sizeof(pm_py_state),
    functions,
    slots,
    traverse,
    NULL,
    NULL,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
