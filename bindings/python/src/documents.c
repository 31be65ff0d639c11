/* SPDX-License-Identifier: Apache-2.0 */
/* Documents in: str or bytes a row, or metadata as JSON. */
#include "arrow.h"
#include <stdlib.h>
#include <string.h>

void pm_py_documents_release(pm_py_documents *documents)
{
    free(documents->bytes);
    documents->bytes = NULL;
    Py_CLEAR(documents->keep);
    for (size_t i = 0; i < documents->encodings; i++)
        pomai_free(documents->encoded[i]);
    free(documents->encoded);
    documents->encoded = NULL;
    documents->encodings = 0;
}

static int take_item(pm_py_state *state, PyObject *item, Py_ssize_t i, pomai_bytes *out)
{
    Py_ssize_t size = 0;
    char *data = NULL;
    if (item == Py_None) return 0;
    if (PyUnicode_Check(item)) {
        out->data = PyUnicode_AsUTF8AndSize(item, &size);
        if (out->data == NULL) {
            pm_py_refuse(state, POMAI_EINVAL, "documents[%zd] has characters that are not Unicode; give bytes", i);
            return -1;
        }
    } else if (PyBytes_Check(item)) {
        if (PyBytes_AsStringAndSize(item, &data, &size) != 0) return -1;
        out->data = data;
    } else {
        pm_py_refuse_type(state, "documents[%zd] is %R; expected str, bytes or None (dicts go into metadata=)", i,
                          Py_TYPE(item));
        return -1;
    }
    out->size = (size_t)size;
    return 0;
}

static int take_items(pm_py_state *state, uint64_t rows, pm_py_documents *out)
{
    Py_ssize_t count = PyTuple_Size(out->keep);
    if (count < 0) return -1;
    if ((uint64_t)count != rows) {
        pm_py_refuse(state, POMAI_EINVAL, "there are %zd documents for %llu %s", count, (unsigned long long)rows,
                     out->each);
        return -1;
    }
    out->bytes = calloc((size_t)count + 1, sizeof *out->bytes);
    if (out->bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (take_item(state, PyTuple_GetItem(out->keep, i), i, &out->bytes[i]) != 0) return -1;
    return 0;
}

static PyObject *gather(pm_py_state *state, PyObject *documents, PyObject *metadata, uint64_t rows, bool single,
                        const char *each)
{
    if (documents == NULL) {
        PyObject *count = PyLong_FromUnsignedLongLong(rows);
        PyObject *flag = single ? Py_True : Py_False;
        PyObject *word = PyUnicode_FromString(each);
        PyObject *list = count == NULL || word == NULL
                             ? NULL
                             : pm_py_help(state, "encode_metadata", metadata, count, flag, word, NULL);
        PyObject *made = list == NULL ? NULL : PySequence_Tuple(list);
        Py_XDECREF(count);
        Py_XDECREF(word);
        Py_XDECREF(list);
        return made;
    }
    if (PyUnicode_Check(documents) || PyBytes_Check(documents)) {
        if (single) return PyTuple_Pack(1, documents);
        return pm_py_refuse_type(state, "documents is one %R; expected a list with one for each of the %llu %s",
                                 Py_TYPE(documents), (unsigned long long)rows, each);
    }
    if (PyDict_Check(documents)) /* its keys are not what is meant */
        return pm_py_refuse_type(state, "documents is a dict; expected a list of str, bytes or None (dicts go into "
                                        "metadata=)");
    if (PyAnySet_Check(documents))
        return pm_py_refuse_type(state, "documents is a set, which has no order; expected a list");
    PyObject *items = PySequence_Tuple(documents);
    if (items != NULL) return items;
    return pm_py_refuse_type(state, "documents is %R; expected a list of str, bytes or None", Py_TYPE(documents));
}

int pm_py_documents_take(pm_py_state *state, PyObject *documents, PyObject *metadata, uint64_t rows, bool single,
                         const char *each, pm_py_documents *out)
{
    *out = (pm_py_documents){.each = each};
    if (documents == Py_None) documents = NULL;
    if (metadata == Py_None) metadata = NULL;
    if (documents == NULL && metadata == NULL) return 0;
    if (documents != NULL && metadata != NULL) {
        pm_py_refuse_type(state, "give documents= or metadata=, not both: a row has one document, and metadata is "
                                 "stored as it, in JSON");
        return -1;
    }
    if (metadata != NULL && !single) {
        int other = pm_py_columns_take(state, metadata, rows, out);
        if (other < 0) pm_py_documents_release(out);
        if (other <= 0) return other;
    }
    out->keep = gather(state, documents, metadata, rows, single, each);
    if (out->keep != NULL && take_items(state, rows, out) == 0) return 0;
    pm_py_documents_release(out);
    return -1;
}
