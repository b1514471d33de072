/* Messages into the buffers of Arrow's columns, by a table that etl/express/decoders.py makes of the record's fields and
 * the schema. A decoder takes only what it can prove: the kind first, the fields in the order of their numbers and each
 * once, ASCII text, numbers of the shortest form and in range, decimals that say something. All other messages it gives
 * back, for the plain decoder. It runs no Python code, and keeps nothing.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

enum form { REQUIRED_TEXT, TEXT, DECIMAL, NAME, INT32, INT64, OPTIONAL_INT64, FIXED64, TEXTS, DECIMALS, INTEGERS, FORMS };
enum outcome { FAILED = -1, UNPROVED, PROVED };

#define KINDS 128 /* a kind is one byte behind its tag */
#define KIND_TAG (1 << 3)
#define HEAD_BYTES 2
#define TAG_BYTES_MAX 2
#define BUFFERS 4
#define FIRST_ROOM_BYTES 1024

typedef struct {
    enum form form;
    unsigned char tag[TAG_BYTES_MAX];
    unsigned char tag_bytes;
    long long number_max; /* of a NAME */
} Field;

typedef struct {
    Py_ssize_t count;
    Field fields[];
} Table;

typedef struct {
    Table *of_kind[KINDS];
} Decoder;

/* Buffers as Arrow lays them out, each a bytes object that nobody else has yet. A row that turns out to be unproved is
 * written over by the next: what is written lies behind the end that the offsets of the row before tell. */
typedef struct {
    PyObject *validity; /* a bit a row; NULL where no row is null */
    PyObject *rows;     /* int64 a row, or of texts and lists the int32 where the row begins, and the end */
    PyObject *items;    /* of lists: int64 an item, or of texts the int32 where the item begins, and the end */
    PyObject *text;
} Column;

/* The rows of one kind so far. */
typedef struct {
    Py_ssize_t count, room;
    PyObject *offsets; /* of their messages: a list */
    Column *columns;
} Rows;

static const char NAME_OF_CAPSULE[] = "etl.express._decode.Decoder";

/* Bytes of a message that are still to be read. */
typedef struct {
    const unsigned char *at, *end;
} Rest;

static inline int is_list(enum form form) { return form == TEXTS || form == DECIMALS || form == INTEGERS; }

static inline int has_text(enum form form) {
    return form == REQUIRED_TEXT || form == TEXT || form == DECIMAL || form == TEXTS || form == DECIMALS;
}

static inline int may_be_null(enum form form) {
    return form == TEXT || form == DECIMAL || form == OPTIONAL_INT64 || is_list(form);
}

static inline unsigned char *data_of(PyObject *bytes) { return (unsigned char *)PyBytes_AS_STRING(bytes); }

static inline int32_t int32_at(PyObject *bytes, Py_ssize_t index) {
    int32_t number;
    memcpy(&number, data_of(bytes) + index * (Py_ssize_t)sizeof number, sizeof number);
    return number;
}

static inline void put_int32(PyObject *bytes, Py_ssize_t index, int32_t number) {
    memcpy(data_of(bytes) + index * (Py_ssize_t)sizeof number, &number, sizeof number);
}

static inline void put_int64(PyObject *bytes, Py_ssize_t index, long long number) {
    int64_t exact = number;
    memcpy(data_of(bytes) + index * (Py_ssize_t)sizeof exact, &exact, sizeof exact);
}

static inline void put_validity(Column *column, Py_ssize_t row, int is_valid) {
    unsigned char *byte = data_of(column->validity) + row / 8, bit = (unsigned char)(1 << (row % 8));
    *byte = (unsigned char)(is_valid ? *byte | bit : *byte & ~bit);
}

/* Whether *bytes has room for so many. Raises MemoryError. */
static inline int has_room(PyObject **bytes, Py_ssize_t needed) {
    Py_ssize_t room = PyBytes_GET_SIZE(*bytes);
    if (needed <= room) {
        return 1;
    }
    return _PyBytes_Resize(bytes, needed > 2 * room ? needed + FIRST_ROOM_BYTES : 2 * room) == 0;
}

static inline int starts_with_tag(const Rest *rest, const Field *field) {
    return rest->end - rest->at >= field->tag_bytes && rest->at[0] == field->tag[0] &&
           (field->tag_bytes == 1 || rest->at[1] == field->tag[1]);
}

/* A varint in its shortest form, of at most 64 bits. */
static inline int read_varint(Rest *rest, unsigned long long *number) {
    unsigned long long bits = 0;
    for (int shift = 0; shift < 64 && rest->at < rest->end; shift += 7) {
        unsigned char byte = *rest->at++;
        bits |= (unsigned long long)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *number = bits;
            return (byte > 0 || shift == 0) && (shift < 63 || byte == 1);
        }
    }
    return 0;
}

static inline int read_length(Rest *rest, Py_ssize_t *length) {
    unsigned long long number;
    if (!read_varint(rest, &number) || number > (unsigned long long)(rest->end - rest->at)) {
        return 0;
    }
    *length = (Py_ssize_t)number;
    return 1;
}

static inline int is_ascii(const unsigned char *text, Py_ssize_t length) {
    uint64_t found = 0, eight;
    for (; length >= (Py_ssize_t)sizeof eight; length -= (Py_ssize_t)sizeof eight, text += sizeof eight) {
        memcpy(&eight, text, sizeof eight);
        found |= eight;
    }
    for (; length > 0; length--) {
        found |= *text++;
    }
    return (found & 0x8080808080808080u) == 0;
}

/* Appends the text that comes next to column->text, which ends at *end, and moves *end. */
static enum outcome take_text(Column *column, Rest *rest, int32_t *end, int may_be_empty) {
    Py_ssize_t length;
    if (!read_length(rest, &length) || length > INT32_MAX - *end || (length == 0 && !may_be_empty) ||
        !is_ascii(rest->at, length)) {
        return UNPROVED;
    }
    if (!has_room(&column->text, *end + length)) {
        return FAILED;
    }
    memcpy(data_of(column->text) + *end, rest->at, (size_t)length);
    rest->at += length;
    *end += (int32_t)length;
    return PROVED;
}

static enum outcome take_texts(Column *column, const Field *field, Rest *rest, int32_t *item) {
    int32_t end = int32_at(column->items, *item);
    while (starts_with_tag(rest, field)) {
        rest->at += field->tag_bytes;
        enum outcome outcome = take_text(column, rest, &end, field->form == TEXTS);
        if (outcome != PROVED) {
            return outcome;
        }
        if (!has_room(&column->items, ((Py_ssize_t)*item + 2) * (Py_ssize_t)sizeof(int32_t))) {
            return FAILED;
        }
        put_int32(column->items, ++*item, end);
    }
    return PROVED;
}

static enum outcome take_integers(Column *column, const Field *field, Rest *rest, int32_t *item) {
    Py_ssize_t length;
    unsigned long long number;
    if (!starts_with_tag(rest, field)) {
        return PROVED;
    }
    rest->at += field->tag_bytes;
    if (!read_length(rest, &length) || length == 0 || length > INT32_MAX - *item) {
        return UNPROVED;
    }
    if (!has_room(&column->items, (*item + length) * (Py_ssize_t)sizeof(int64_t))) { /* a number has a byte at least */
        return FAILED;
    }
    Rest packed = {rest->at, rest->at + length};
    while (packed.at < packed.end) {
        if (!read_varint(&packed, &number)) {
            return UNPROVED;
        }
        put_int64(column->items, (*item)++, (long long)number);
    }
    rest->at += length;
    return PROVED;
}

static enum outcome take_number(Column *column, const Field *field, Rest *rest, Py_ssize_t row) {
    unsigned long long bits = 0;
    int is_there = starts_with_tag(rest, field);
    if (is_there) {
        rest->at += field->tag_bytes;
        if (field->form != FIXED64) {
            if (!read_varint(rest, &bits)) {
                return UNPROVED;
            }
        } else {
            if (rest->end - rest->at < 8) {
                return UNPROVED;
            }
            for (int shift = 0; shift < 64; shift += 8) {
                bits |= (unsigned long long)*rest->at++ << shift;
            }
        }
    }
    long long number = (long long)bits;
    if ((field->form == INT32 && (number < INT32_MIN || number > INT32_MAX)) ||
        (field->form == NAME && (number < 0 || number > field->number_max))) {
        return UNPROVED;
    }
    put_int64(column->rows, row, number);
    if (field->form == OPTIONAL_INT64) {
        put_validity(column, row, is_there);
    }
    return PROVED;
}

/* One field of the next row: what comes next if it is this field, else its absence. */
static enum outcome take_field(Column *column, const Field *field, Rest *rest, Py_ssize_t row) {
    if (!is_list(field->form) && !has_text(field->form)) {
        return take_number(column, field, rest, row);
    }
    int32_t start = int32_at(column->rows, row), end = start;
    enum outcome outcome = PROVED;
    if (is_list(field->form)) {
        outcome = field->form == INTEGERS ? take_integers(column, field, rest, &end) : take_texts(column, field, rest, &end);
    } else if (starts_with_tag(rest, field)) {
        rest->at += field->tag_bytes;
        outcome = take_text(column, rest, &end, field->form != DECIMAL);
    }
    if (outcome == PROVED) {
        put_int32(column->rows, row + 1, end);
        if (may_be_null(field->form)) {
            put_validity(column, row, end > start);
        }
    }
    return outcome;
}

static enum outcome take_message(const Table *table, Rows *rows, PyObject *value) {
    const unsigned char *bytes = data_of(value);
    Rest rest = {bytes + HEAD_BYTES, bytes + PyBytes_GET_SIZE(value)};
    for (Py_ssize_t i = 0; i < table->count; i++) {
        enum outcome outcome = take_field(&rows->columns[i], &table->fields[i], &rest, rows->count);
        if (outcome != PROVED) {
            return outcome;
        }
    }
    return rest.at == rest.end ? PROVED : UNPROVED; /* what is left is unknown, out of order or said twice */
}

/* The kind of a pair (offset, value), 0 where it is not certain. */
static inline unsigned kind_of(const Decoder *decoder, PyObject *pair) {
    if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2) {
        return 0;
    }
    PyObject *value = PyTuple_GET_ITEM(pair, 1);
    if (!PyBytes_CheckExact(value) || PyBytes_GET_SIZE(value) < HEAD_BYTES || data_of(value)[0] != KIND_TAG) {
        return 0;
    }
    unsigned kind = data_of(value)[1];
    return kind < KINDS && decoder->of_kind[kind] != NULL ? kind : 0;
}

static int open_column(Column *column, enum form form, Py_ssize_t room) {
    Py_ssize_t row_bytes = (Py_ssize_t)(is_list(form) || has_text(form) ? sizeof(int32_t) : sizeof(int64_t));
    column->rows = PyBytes_FromStringAndSize(NULL, (room + 1) * row_bytes);
    if (column->rows == NULL) {
        return -1;
    }
    put_int32(column->rows, 0, 0);
    if (may_be_null(form)) {
        column->validity = PyBytes_FromStringAndSize(NULL, room / 8 + 1);
        if (column->validity == NULL) {
            return -1;
        }
        memset(data_of(column->validity), 0, (size_t)room / 8 + 1);
    }
    if (is_list(form)) {
        column->items = PyBytes_FromStringAndSize(NULL, FIRST_ROOM_BYTES);
        if (column->items == NULL) {
            return -1;
        }
        put_int32(column->items, 0, 0);
    }
    if (has_text(form)) {
        column->text = PyBytes_FromStringAndSize(NULL, FIRST_ROOM_BYTES);
        if (column->text == NULL) {
            return -1;
        }
    }
    return 0;
}

static int open_rows(Rows *rows, const Table *table) {
    rows->offsets = PyList_New(0);
    rows->columns = PyMem_Calloc((size_t)table->count, sizeof(Column));
    if (rows->offsets == NULL || rows->columns == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < table->count; i++) {
        if (open_column(&rows->columns[i], table->fields[i].form, rows->room) < 0) {
            return -1;
        }
    }
    return 0;
}

static void close_rows(Rows *rows, const Table *table) {
    Py_XDECREF(rows->offsets);
    for (Py_ssize_t i = 0; rows->columns != NULL && i < table->count; i++) {
        Column *column = &rows->columns[i];
        Py_XDECREF(column->validity);
        Py_XDECREF(column->rows);
        Py_XDECREF(column->items);
        Py_XDECREF(column->text);
    }
    PyMem_Free(rows->columns);
}

/* Cuts the buffers that grew to what is in them. */
static int cut_column(Column *column, enum form form, Py_ssize_t count) {
    if (!is_list(form) && !has_text(form)) {
        return 0;
    }
    int32_t end = int32_at(column->rows, count);
    if (is_list(form)) {
        int32_t items = end;
        Py_ssize_t bytes = (Py_ssize_t)items * (Py_ssize_t)sizeof(int64_t);
        if (has_text(form)) {
            end = int32_at(column->items, items);
            bytes = ((Py_ssize_t)items + 1) * (Py_ssize_t)sizeof(int32_t);
        }
        if (_PyBytes_Resize(&column->items, bytes) < 0) {
            return -1;
        }
    }
    return has_text(form) ? _PyBytes_Resize(&column->text, end) : 0;
}

/* (kind, offsets, columns), a column being (validity or None, rows, items or None, text or None). */
static PyObject *made_of(Rows *rows, const Table *table, unsigned kind) {
    PyObject *columns = PyTuple_New(table->count);
    for (Py_ssize_t i = 0; columns != NULL && i < table->count; i++) {
        Column *column = &rows->columns[i];
        if (cut_column(column, table->fields[i].form, rows->count) < 0) {
            Py_DECREF(columns);
            return NULL;
        }
        PyObject *buffers[BUFFERS] = {column->validity, column->rows, column->items, column->text};
        for (int n = 0; n < BUFFERS; n++) {
            buffers[n] = buffers[n] == NULL ? Py_None : buffers[n];
        }
        PyObject *made = PyTuple_Pack(BUFFERS, buffers[0], buffers[1], buffers[2], buffers[3]);
        if (made == NULL) {
            Py_DECREF(columns);
            return NULL;
        }
        PyTuple_SET_ITEM(columns, i, made);
    }
    return columns == NULL ? NULL : Py_BuildValue("(ION)", kind, rows->offsets, columns);
}

static int take_all(const Decoder *decoder, PyObject *pairs, const char *skipped, Rows *rows, PyObject *unproved) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pairs); i++) {
        PyObject *pair = PyList_GET_ITEM(pairs, i);
        unsigned kind = kind_of(decoder, pair);
        if (skipped[kind]) {
            continue;
        }
        enum outcome outcome = UNPROVED;
        if (kind != 0) {
            outcome = take_message(decoder->of_kind[kind], &rows[kind], PyTuple_GET_ITEM(pair, 1));
        }
        if (outcome == FAILED) {
            return -1;
        }
        PyObject *list = outcome == PROVED ? rows[kind].offsets : unproved;
        if (PyList_Append(list, outcome == PROVED ? PyTuple_GET_ITEM(pair, 0) : pair) < 0) {
            return -1;
        }
        rows[kind].count += outcome == PROVED;
    }
    return 0;
}

static PyObject *decode_into(const Decoder *decoder, PyObject *pairs, const char *skipped, Rows *rows) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pairs); i++) {
        unsigned kind = kind_of(decoder, PyList_GET_ITEM(pairs, i));
        rows[kind].room += !skipped[kind];
    }
    for (unsigned kind = 1; kind < KINDS; kind++) {
        if (rows[kind].room > 0 && open_rows(&rows[kind], decoder->of_kind[kind]) < 0) {
            return NULL;
        }
    }
    PyObject *found = PyList_New(0), *unproved = PyList_New(0);
    int is_failed = found == NULL || unproved == NULL || take_all(decoder, pairs, skipped, rows, unproved) < 0;
    for (unsigned kind = 1; kind < KINDS && !is_failed; kind++) {
        if (rows[kind].count > 0) {
            PyObject *made = made_of(&rows[kind], decoder->of_kind[kind], kind);
            is_failed = made == NULL || PyList_Append(found, made) < 0;
            Py_XDECREF(made);
        }
    }
    if (is_failed) {
        Py_XDECREF(found);
        Py_XDECREF(unproved);
        return NULL;
    }
    return Py_BuildValue("(NN)", found, unproved);
}

static PyObject *decode(PyObject *capsule, PyObject *args) {
    const Decoder *decoder = PyCapsule_GetPointer(capsule, NAME_OF_CAPSULE);
    PyObject *pairs;
    const char *kinds;
    Py_ssize_t kinds_count;
    if (decoder == NULL || !PyArg_ParseTuple(args, "O!y#", &PyList_Type, &pairs, &kinds, &kinds_count)) {
        return NULL;
    }
    char skipped[KINDS] = {0};
    for (Py_ssize_t i = 0; i < kinds_count; i++) {
        unsigned char kind = (unsigned char)kinds[i];
        if (kind > 0 && kind < KINDS) {
            skipped[kind] = 1;
        }
    }
    Rows rows[KINDS] = {{0}};
    PyObject *made = decode_into(decoder, pairs, skipped, rows);
    for (unsigned kind = 1; kind < KINDS; kind++) {
        if (rows[kind].room > 0) {
            close_rows(&rows[kind], decoder->of_kind[kind]);
        }
    }
    return made;
}

static PyMethodDef DECODE = {"decode", decode, METH_VARARGS, "decode(pairs, skip): what is proved, and the pairs that are not."};

static void free_decoder(PyObject *capsule) {
    Decoder *decoder = PyCapsule_GetPointer(capsule, NAME_OF_CAPSULE);
    for (int kind = 0; decoder != NULL && kind < KINDS; kind++) {
        PyMem_Free(decoder->of_kind[kind]);
    }
    PyMem_Free(decoder);
}

/* The table of one kind, rows of (tag, form, number_max). Raises TypeError for what is none. */
static Table *read_table(PyObject *rows) {
    Py_ssize_t count = PyTuple_GET_SIZE(rows);
    Table *table = PyMem_Calloc(1, sizeof(Table) + (size_t)count * sizeof(Field));
    if (table == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    table->count = count;
    for (Py_ssize_t i = 0; i < count; i++) {
        Field *field = &table->fields[i];
        const char *tag;
        Py_ssize_t tag_bytes;
        int form;
        PyObject *row = PyTuple_GET_ITEM(rows, i);
        int is_row = PyTuple_Check(row) && PyArg_ParseTuple(row, "y#iL", &tag, &tag_bytes, &form, &field->number_max);
        if (!is_row || tag_bytes < 1 || tag_bytes > TAG_BYTES_MAX || form < 0 || form >= FORMS) {
            if (!PyErr_Occurred()) {
                PyErr_Format(PyExc_TypeError, "%R is no tag, form and greatest number", row);
            }
            PyMem_Free(table);
            return NULL;
        }
        field->form = (enum form)form;
        field->tag_bytes = (unsigned char)tag_bytes;
        memcpy(field->tag, tag, (size_t)tag_bytes);
    }
    return table;
}

static PyObject *make(PyObject *module, PyObject *tables) {
    Decoder *decoder = PyMem_Calloc(1, sizeof(Decoder));
    if (decoder == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(decoder, NAME_OF_CAPSULE, free_decoder);
    if (capsule == NULL) {
        PyMem_Free(decoder);
        return NULL;
    }
    PyObject *number, *rows;
    Py_ssize_t position = 0;
    while (PyDict_Check(tables) && PyDict_Next(tables, &position, &number, &rows)) {
        long kind = PyLong_AsLong(number);
        if (PyErr_Occurred() || kind < 1 || kind >= KINDS || !PyTuple_Check(rows)) {
            position = -1;
            break;
        }
        if ((decoder->of_kind[kind] = read_table(rows)) == NULL) {
            Py_DECREF(capsule);
            return NULL;
        }
    }
    if (!PyDict_Check(tables) || position < 0) {
        PyErr_SetString(PyExc_TypeError, "a dictionary of kinds, 1 to 127, to tuples of rows");
        Py_DECREF(capsule);
        return NULL;
    }
    PyObject *made = PyCFunction_New(&DECODE, capsule);
    Py_DECREF(capsule);
    return made;
}

static PyMethodDef METHODS[] = {
    {"make", make, METH_O, "make(tables): a decoder of messages, by kind the rows of its table."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "etl.express._decode", NULL, 0, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__decode(void) { return PyModule_Create(&MODULE); }
