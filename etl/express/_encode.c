/* Records into the bytes of their messages, by a table that etl/express/encoders.py makes of the record's fields and
 * the schema. An encoder writes only what it can prove: exact types, ASCII text, numbers in range. For all else it
 * calls the plain encoder with the same record. It runs no Python code while it reads a record, and keeps nothing.
 */
#include "_express.h"

enum form { TEXT, OPTIONAL_TEXT, ENUM, INT32, INT64, OPTIONAL_INT64, FIXED64, TEXTS, PACKED, FORMS };

#define ENUM_MAX 127
#define TAG_BYTES_MAX 2
#define VARINT_BYTES_MAX 10
#define ON_STACK_BYTES 4096
#define MESSAGE_BYTES_MAX (1 << 28)

typedef struct {
    Py_ssize_t offset; /* of the slot in the record */
    enum form form;
    unsigned char tag[TAG_BYTES_MAX];
    unsigned char tag_bytes;
} Field;

typedef struct {
    ProvingEncoder common;
    PyObject *plain;
    unsigned char head[TAG_BYTES_MAX]; /* the kind: a tag of one byte and a number below 128 */
    Py_ssize_t count;
    Field fields[];
} Encoder;

/* The message so far. It grows from the stack into memory of its own; is_proved is false once anything is not. */
typedef struct {
    unsigned char *bytes;
    size_t used, room;
    int is_proved;
    unsigned char on_stack[ON_STACK_BYTES];
} Message;

static const char NAME[] = ENCODER_NAME;

static int grow(Message *message, size_t more) {
    size_t needed = message->used + more, room = message->room * 2;
    if (needed > MESSAGE_BYTES_MAX) {
        return message->is_proved = 0;
    }
    if (room < needed) {
        room = needed;
    }
    unsigned char *is_own = message->bytes == message->on_stack ? NULL : message->bytes;
    unsigned char *bytes = PyMem_Realloc(is_own, room);
    if (bytes == NULL) {
        return message->is_proved = 0;
    }
    if (is_own == NULL) {
        memcpy(bytes, message->on_stack, message->used);
    }
    message->bytes = bytes;
    message->room = room;
    return 1;
}

/* Whether there is room for so many bytes more, none of them over MESSAGE_BYTES_MAX. */
static inline int has_room(Message *message, size_t more) {
    return message->room - message->used >= more || grow(message, more);
}

static inline unsigned char *write_varint(unsigned char *at, unsigned long long number) {
    while (number > 0x7F) {
        *at++ = (unsigned char)(number | 0x80);
        number >>= 7;
    }
    *at++ = (unsigned char)number;
    return at;
}

static inline unsigned char *write_tag(unsigned char *at, const Field *field) {
    *at++ = field->tag[0];
    if (field->tag_bytes == TAG_BYTES_MAX) {
        *at++ = field->tag[1];
    }
    return at;
}

static void put_text(Message *message, const Field *field, PyObject *value, int skips_empty) {
    if (!PyUnicode_Check(value) || !PyUnicode_IS_COMPACT_ASCII(value)) {
        message->is_proved = 0;
        return;
    }
    size_t length = (size_t)PyUnicode_GET_LENGTH(value);
    if (length == 0 && skips_empty) {
        return;
    }
    if (length > MESSAGE_BYTES_MAX || !has_room(message, TAG_BYTES_MAX + VARINT_BYTES_MAX + length)) {
        message->is_proved = 0;
        return;
    }
    unsigned char *at = write_varint(write_tag(message->bytes + message->used, field), length);
    memcpy(at, PyUnicode_1BYTE_DATA(value), length);
    message->used = (size_t)(at - message->bytes) + length;
}

static void put_number(Message *message, const Field *field, PyObject *value) {
    long long number;
    if (!read_number(value, &number) || (field->form == INT32 && (number < INT32_MIN || number > INT32_MAX)) ||
        (field->form == ENUM && (number < 0 || number > ENUM_MAX))) {
        message->is_proved = 0;
        return;
    }
    if (number == 0 && field->form != OPTIONAL_INT64) {
        return;
    }
    if (!has_room(message, TAG_BYTES_MAX + VARINT_BYTES_MAX)) {
        return;
    }
    unsigned long long bits = (unsigned long long)number;
    unsigned char *at = write_tag(message->bytes + message->used, field);
    if (field->form == FIXED64) {
        for (int shift = 0; shift < 64; shift += 8) {
            *at++ = (unsigned char)(bits >> shift);
        }
    } else {
        at = write_varint(at, bits);
    }
    message->used = (size_t)(at - message->bytes);
}

static void put_texts(Message *message, const Field *field, PyObject *texts) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts) && message->is_proved; i++) {
        put_text(message, field, PyTuple_GET_ITEM(texts, i), 0);
    }
}

static void put_packed(Message *message, const Field *field, PyObject *numbers) {
    Py_ssize_t count = PyTuple_GET_SIZE(numbers);
    unsigned char one[VARINT_BYTES_MAX];
    size_t size = 0;
    long long number;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!read_number(PyTuple_GET_ITEM(numbers, i), &number)) {
            message->is_proved = 0;
            return;
        }
        size += (size_t)(write_varint(one, (unsigned long long)number) - one);
    }
    if (count == 0 || !has_room(message, TAG_BYTES_MAX + VARINT_BYTES_MAX + size)) {
        return;
    }
    unsigned char *at = write_varint(write_tag(message->bytes + message->used, field), size);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (read_number(PyTuple_GET_ITEM(numbers, i), &number)) {
            at = write_varint(at, (unsigned long long)number);
        }
    }
    message->used = (size_t)(at - message->bytes);
}

static void put(Message *message, const Field *field, PyObject *value) {
    switch (field->form) {
    case TEXT:
        put_text(message, field, value, 1);
        return;
    case OPTIONAL_TEXT:
        if (value != Py_None) {
            put_text(message, field, value, 0);
        }
        return;
    case OPTIONAL_INT64:
        if (value == Py_None) {
            return;
        }
        /* fall through */
    case ENUM:
    case INT32:
    case INT64:
    case FIXED64:
        put_number(message, field, value);
        return;
    case TEXTS:
    case PACKED:
        if (!PyTuple_CheckExact(value)) {
            message->is_proved = 0;
        } else if (field->form == TEXTS) {
            put_texts(message, field, value);
        } else {
            put_packed(message, field, value);
        }
        return;
    default:
        message->is_proved = 0;
    }
}

static PyObject *prove(const void *place, PyObject *record) {
    const Encoder *encoder = place;
    Message message;
    message.bytes = message.on_stack;
    message.room = ON_STACK_BYTES;
    message.is_proved = 1;
    memcpy(message.bytes, encoder->head, TAG_BYTES_MAX);
    message.used = TAG_BYTES_MAX;
    for (Py_ssize_t i = 0; i < encoder->count && message.is_proved; i++) {
        const Field *field = &encoder->fields[i];
        PyObject *value = *(PyObject **)((char *)record + field->offset);
        if (value == NULL) {
            message.is_proved = 0;
        } else {
            put(&message, field, value);
        }
    }
    PyObject *made = NULL;
    if (message.is_proved) {
        made = PyBytes_FromStringAndSize((char *)message.bytes, (Py_ssize_t)message.used);
    }
    if (message.bytes != message.on_stack) {
        PyMem_Free(message.bytes);
    }
    return made;
}

static PyObject *encode(PyObject *capsule, PyObject *record) {
    const Encoder *encoder = PyCapsule_GetPointer(capsule, NAME);
    if (encoder == NULL) {
        return NULL;
    }
    PyObject *made = Py_IS_TYPE(record, encoder->common.type) ? prove(encoder, record) : NULL;
    return made != NULL || PyErr_Occurred() ? made : PyObject_CallOneArg(encoder->plain, record);
}

static PyMethodDef ENCODE = {"encode", encode, METH_O, "As the plain encoder of the record's type."};

static void free_encoder(PyObject *capsule) {
    Encoder *encoder = PyCapsule_GetPointer(capsule, NAME);
    if (encoder != NULL) {
        Py_DECREF(encoder->common.type);
        Py_DECREF(encoder->plain);
        PyMem_Free(encoder);
    }
}

/* One row of the table: (slot, form, tag). Raises TypeError for what is no slot of type. */
static int read_field(Field *field, PyTypeObject *type, PyObject *row) {
    PyObject *slot;
    const char *tag;
    Py_ssize_t tag_bytes;
    int form;
    if (!PyArg_ParseTuple(row, "O!iy#", &PyMemberDescr_Type, &slot, &form, &tag, &tag_bytes)) {
        return -1;
    }
    const PyMemberDescrObject *member = (PyMemberDescrObject *)slot;
    if (member->d_member->type != T_OBJECT_EX || !PyType_IsSubtype(type, PyDescr_TYPE(member)) || form < 0 ||
        form >= FORMS || tag_bytes < 1 || tag_bytes > TAG_BYTES_MAX) {
        PyErr_Format(PyExc_TypeError, "%R is no slot of %R that has this form and tag", slot, type);
        return -1;
    }
    field->offset = member->d_member->offset;
    field->form = (enum form)form;
    field->tag_bytes = (unsigned char)tag_bytes;
    memcpy(field->tag, tag, (size_t)tag_bytes);
    return 0;
}

static PyObject *make(PyObject *module, PyObject *args) {
    PyObject *type, *rows, *plain;
    unsigned char kind;
    if (!PyArg_ParseTuple(args, "O!bO!O", &PyType_Type, &type, &kind, &PyTuple_Type, &rows, &plain)) {
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(rows);
    if (kind > 0x7F) {
        PyErr_SetString(PyExc_ValueError, "a kind is below 128");
        return NULL;
    }
    Encoder *encoder = PyMem_Calloc(1, sizeof(Encoder) + (size_t)count * sizeof(Field));
    if (encoder == NULL) {
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (read_field(&encoder->fields[i], (PyTypeObject *)type, PyTuple_GET_ITEM(rows, i)) < 0) {
            PyMem_Free(encoder);
            return NULL;
        }
    }
    encoder->common.type = (PyTypeObject *)Py_NewRef(type);
    encoder->common.prove = prove;
    encoder->plain = Py_NewRef(plain);
    encoder->count = count;
    encoder->head[0] = 1 << 3;
    encoder->head[1] = kind;
    PyObject *capsule = PyCapsule_New(encoder, NAME, free_encoder);
    if (capsule == NULL) {
        Py_DECREF(encoder->common.type);
        Py_DECREF(encoder->plain);
        PyMem_Free(encoder);
        return NULL;
    }
    PyObject *made = PyCFunction_New(&ENCODE, capsule);
    Py_DECREF(capsule);
    return made;
}

static PyMethodDef METHODS[] = {
    {"make", make, METH_VARARGS, "make(type, kind, rows, plain): an encoder of records of exactly this type."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "etl.express._encode", NULL, 0, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__encode(void) { return PyModule_Create(&MODULE); }
