/* What _encode.c and _step.c share. An encoder lies in the capsule of the function that it made; it begins with this. */
#ifndef ETL_EXPRESS_H
#define ETL_EXPRESS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#define ENCODER_NAME "etl.express._encode.Encoder"

typedef struct {
    PyTypeObject *type;
    /* The bytes of record, which is of type; NULL where they are not proved (no error is set), or out of memory. */
    PyObject *(*prove)(const void *encoder, PyObject *record);
} ProvingEncoder;

/* Whether value is an int of 64 bits, enums among them. */
static inline int read_number(PyObject *value, long long *number) {
    int overflow = 0;
    if (value == NULL || !PyLong_Check(value)) {
        return 0;
    }
    *number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow == 0;
}

#endif
