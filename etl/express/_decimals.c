/* Plain decimal text, as Arrow holds a column of it, into the numbers of a Decimal of 128 bits. Exact, or not at all. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define DIGITS_MAX 19 /* on either side of the point: what fits 64 bits */
#define NUMBER_BYTES 16

static unsigned long long POWERS_OF_TEN[DIGITS_MAX + 1];

typedef struct {
    const unsigned char *at, *end;
} Rest;

/* Digits up to the first byte that is none, or -1 for more than so many. */
static inline int read_digits(Rest *rest, int digits_max, unsigned long long *number) {
    int digits = 0;
    for (*number = 0; rest->at < rest->end && *rest->at >= '0' && *rest->at <= '9'; rest->at++) {
        if (++digits > digits_max) {
            return -1;
        }
        *number = *number * 10 + (unsigned long long)(*rest->at - '0');
    }
    return digits;
}

/* Whether the text is [-]digits[.digits] with no more digits than that; its number, scaled, then lies in `bytes`. */
static inline int take_decimal(Rest rest, int whole_max, int scale, unsigned char *bytes) {
    unsigned long long whole, fraction = 0;
    int digits = 0, is_negative = *rest.at == '-';
    rest.at += is_negative;
    if (read_digits(&rest, whole_max, &whole) < 1) {
        return 0;
    }
    if (rest.at < rest.end && *rest.at == '.') {
        rest.at++;
        digits = read_digits(&rest, scale, &fraction);
        if (digits < 1) {
            return 0;
        }
    }
    unsigned __int128 number = (unsigned __int128)whole * POWERS_OF_TEN[scale] + fraction * POWERS_OF_TEN[scale - digits];
    number = is_negative ? -number : number;
    memcpy(bytes, &number, NUMBER_BYTES);
    return rest.at == rest.end;
}

static PyObject *exact_of(const Py_buffer *starts, const Py_buffer *text, int whole_max, int scale) {
    Py_ssize_t rows = starts->len / (Py_ssize_t)sizeof(int32_t) - 1;
    PyObject *made = PyBytes_FromStringAndSize(NULL, rows * NUMBER_BYTES);
    if (made == NULL) {
        return NULL;
    }
    unsigned char *numbers = (unsigned char *)PyBytes_AS_STRING(made);
    const int32_t *start = starts->buf;
    for (Py_ssize_t row = 0; row < rows; row++, numbers += NUMBER_BYTES) {
        if (start[row] == start[row + 1]) { /* no text: the row is null */
            memset(numbers, 0, NUMBER_BYTES);
            continue;
        }
        int is_text = start[row] >= 0 && start[row] < start[row + 1] && start[row + 1] <= text->len;
        const unsigned char *bytes = text->buf;
        if (!is_text || !take_decimal((Rest){bytes + start[row], bytes + start[row + 1]}, whole_max, scale, numbers)) {
            Py_DECREF(made);
            Py_RETURN_NONE;
        }
    }
    return made;
}

static PyObject *exact(PyObject *module, PyObject *args) {
    Py_buffer starts, text;
    int whole_max, scale;
    if (!PyArg_ParseTuple(args, "y*y*ii", &starts, &text, &whole_max, &scale)) {
        return NULL;
    }
    PyObject *made = NULL;
    if (whole_max < 1 || whole_max > DIGITS_MAX || scale < 0 || scale > DIGITS_MAX || starts.len % sizeof(int32_t) != 0 ||
        starts.len == 0) {
        PyErr_SetString(PyExc_ValueError, "at most 19 digits on either side of the point, and an int32 a row and the end");
    } else {
        made = exact_of(&starts, &text, whole_max, scale);
    }
    PyBuffer_Release(&starts);
    PyBuffer_Release(&text);
    return made;
}

static PyMethodDef METHODS[] = {
    {"exact", exact, METH_VARARGS, "exact(starts, text, whole_max, scale): 16 bytes a row, or None if any does not fit."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "etl.express._decimals", NULL, 0, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__decimals(void) {
    POWERS_OF_TEN[0] = 1;
    for (int digits = 1; digits <= DIGITS_MAX; digits++) {
        POWERS_OF_TEN[digits] = POWERS_OF_TEN[digits - 1] * 10;
    }
    return PyModule_Create(&MODULE);
}
