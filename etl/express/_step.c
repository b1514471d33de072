/* The express step of one connection: a record of a common kind that is provably good, and next in its channel, is
 * encoded and handed to the publisher. Of any other nothing is touched, and it goes the plain way. What is read and
 * written is the plain way's own state, by tables that etl/express/step.py makes of specs, slots and schema.
 */
#include "_step.h"

static const char NAME[] = "etl.express._step.Step";

/* A trade is remembered by its identity; key and content are new references where the plain check would be silent. */
typedef struct {
    PyObject *key, *content;
} Memory;

static int is_new_identity(const Step *step, const Kind *kind, PyObject *record, Memory *memory) {
    PyObject *identities = step->objects[IDENTITIES];
    PyObject *recent = slot(step, identities, IDENTITIES_RECENT), *older = slot(step, identities, IDENTITIES_OLDER);
    long long window;
    if (recent == NULL || older == NULL || !PyDict_CheckExact(recent) || !PyDict_CheckExact(older) ||
        !read_number(slot(step, identities, IDENTITIES_WINDOW), &window) || PyDict_GET_SIZE(recent) + 1 >= window) {
        return 0;
    }
    memory->key = PyTuple_Pack(2, slot(step, record, SYMBOL), slot(step, record, RECORD_KEY));
    memory->content = PyTuple_Pack(3, slot(step, record, KEY_TIME), at(record, kind->own[LAST_PRICE]),
                                   at(record, kind->own[VOLUME]));
    return memory->key != NULL && memory->content != NULL &&
           PyDict_GetItemWithError(recent, memory->key) == NULL && !PyErr_Occurred() &&
           PyDict_GetItemWithError(older, memory->key) == NULL && !PyErr_Occurred();
}

static int count(const Step *step, const Kind *kind) {
    PyObject *published = step->objects[PUBLISHED], *number;
    long long before;
    if (kind->kind >= PyList_GET_SIZE(published) || !read_number(PyList_GET_ITEM(published, kind->kind), &before) ||
        (number = PyLong_FromLongLong(before + 1)) == NULL) {
        return -1;
    }
    return PyList_SetItem(published, kind->kind, number);
}

/* All is proved: what the plain way would have written is written. NULL and an error where the publisher refuses. */
static PyObject *publish(const Step *step, const Kind *kind, const Reading *reading, const Memory *memory,
                         PyObject *key, PyObject *message, PyObject *receive_time_ns) {
    if (reading->teaches_clock &&
        put_number(step, step->objects[CLOCK], CLOCK_OFFSET, reading->clock_offset_ns) < 0) {
        return NULL;
    }
    if (memory->key != NULL && PyDict_SetItem(slot(step, step->objects[IDENTITIES], IDENTITIES_RECENT), memory->key,
                                              memory->content) < 0) {
        return NULL;
    }
    if (move_on(step, kind, reading) < 0) {
        return NULL;
    }
    PyObject *arguments[] = {step->objects[TOPIC], key, message};
    PyObject *done = PyObject_Vectorcall(step->objects[PUBLISH], arguments, 3, NULL);
    if (done == NULL) {
        return NULL;
    }
    Py_DECREF(done);
    PyObject *channel = slot(step, reading->record, CHANNEL);
    if (count(step, kind) < 0 || PyDict_SetItem(step->objects[LAST_EVENTS], channel, receive_time_ns) < 0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

/* Whether what is looked up by is text, and so can be looked up without an error. */
static int has_names(const Step *step, PyObject *record) {
    static const enum slot NAMES[] = {SYMBOL, CHANNEL, RECORD_KEY};
    for (int i = 0; i < 3; i++) {
        PyObject *name = slot(step, record, NAMES[i]);
        if (name == NULL || !PyUnicode_CheckExact(name)) {
            return 0;
        }
    }
    return slot(step, record, SEQUENCE) != NULL && slot(step, record, KEY_TIME) != NULL;
}

/* NULL for a record that is of no common kind. */
static const Kind *kind_of(const Step *step, PyObject *record) {
    for (const Kind *kind = step->kinds; kind < step->kinds + step->count; kind++) {
        if (Py_IS_TYPE(record, kind->type)) {
            return has_names(step, record) ? kind : NULL;
        }
    }
    return NULL;
}

static PyObject *take(PyObject *capsule, PyObject *const *arguments, Py_ssize_t arguments_count) {
    const Step *step = PyCapsule_GetPointer(capsule, NAME);
    if (step == NULL || arguments_count != 2) {
        return step == NULL ? NULL : PyErr_Format(PyExc_TypeError, "a record and its time of receipt");
    }
    Reading reading = {.record = arguments[0]};
    const Kind *kind = kind_of(step, reading.record);
    if (kind == NULL) {
        Py_RETURN_FALSE;
    }
    Memory memory = {NULL, NULL};
    PyObject *key = PyDict_GetItemWithError(step->objects[KEYS], slot(step, reading.record, SYMBOL));
    PyObject *message = NULL, *taken = NULL;
    if (key != NULL && is_sound(step, kind, &reading) && is_next(step, kind, &reading) &&
        (!(kind->flags & IS_TRADE) || is_new_identity(step, kind, reading.record, &memory))) {
        message = kind->encoder->prove(kind->encoder, reading.record);
    }
    if (message != NULL) {
        Py_INCREF(key);
        taken = publish(step, kind, &reading, &memory, key, message, arguments[1]);
        Py_DECREF(key);
        Py_DECREF(message);
    } else if (!PyErr_Occurred()) {
        taken = Py_NewRef(Py_False);
    }
    Py_XDECREF(memory.key);
    Py_XDECREF(memory.content);
    return taken;
}

static PyMethodDef TAKE = {"step", (PyCFunction)(void (*)(void))take, METH_FASTCALL,
                           "Whether record, received at receive_time_ns, is published; if not, nothing was done."};

/* --- the table ------------------------------------------------------------------------------------------------ */

static void free_step(PyObject *capsule) {
    Step *step = PyCapsule_GetPointer(capsule, NAME);
    if (step == NULL) {
        return;
    }
    for (int i = 0; i < OBJECTS; i++) {
        Py_XDECREF(step->objects[i]);
    }
    for (Py_ssize_t i = 0; i < step->count; i++) {
        Py_XDECREF(step->kinds[i].type);
        Py_XDECREF(step->kinds[i].encode);
    }
    PyMem_Free(step);
}

/* The offset of a slot; -1 and TypeError for what is none. */
static Py_ssize_t offset_of(PyObject *descriptor) {
    if (!PyObject_TypeCheck(descriptor, &PyMemberDescr_Type) ||
        ((PyMemberDescrObject *)descriptor)->d_member->type != T_OBJECT_EX) {
        PyErr_Format(PyExc_TypeError, "%R is no slot", descriptor);
        return -1;
    }
    return ((PyMemberDescrObject *)descriptor)->d_member->offset;
}

static int read_offsets(PyObject *descriptors, Py_ssize_t *offsets, Py_ssize_t count_max) {
    const Py_ssize_t length = PyTuple_GET_SIZE(descriptors);
    for (Py_ssize_t i = 0; i < length && i < count_max; i++) {
        if ((offsets[i] = offset_of(PyTuple_GET_ITEM(descriptors, i))) < 0) {
            return -1;
        }
    }
    if (length > count_max) {
        PyErr_SetString(PyExc_ValueError, "too many slots");
        return -1;
    }
    return 0;
}

static int read_limits(Kind *kind, PyObject *limits) {
    kind->units = PyTuple_GET_SIZE(limits);
    for (Py_ssize_t i = 0; i < kind->units && i < UNITS_MAX; i++) {
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(limits, i), "dd", &kind->size_soft_max[i], &kind->size_hard_max[i])) {
            return -1;
        }
    }
    return 0;
}

static int read_decimals(Kind *kind, PyObject *decimals) {
    kind->decimals_count = PyTuple_GET_SIZE(decimals);
    for (Py_ssize_t i = 0; i < kind->decimals_count && i < DECIMALS_MAX; i++) {
        PyObject *descriptor;
        Decimal *decimal = &kind->decimals[i];
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(decimals, i), "Oi", &descriptor, &decimal->number) ||
            (decimal->offset = offset_of(descriptor)) < 0) {
            return -1;
        }
        if (decimal->number < 0 || decimal->number >= NUMBERS) {
            PyErr_SetString(PyExc_ValueError, "no such number");
            return -1;
        }
    }
    return 0;
}

static int read_comparisons(Comparison *comparisons, const unsigned char *bytes, Py_ssize_t length) {
    for (Py_ssize_t i = 0; i < length / 3; i++) {
        comparisons[i] = (Comparison){bytes[3 * i], bytes[3 * i + 1], bytes[3 * i + 2]};
        if (comparisons[i].left >= NUMBERS || comparisons[i].right >= NUMBERS) {
            PyErr_SetString(PyExc_ValueError, "no such number");
            return -1;
        }
    }
    return 0;
}

/* One row of the table. */
static int read_kind(Kind *kind, PyObject *row) {
    PyObject *type, *encode, *own, *limits, *decimals;
    const unsigned char *comparisons;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(row, "O!OiiLLLLdO!O!O!y#", &PyType_Type, &type, &encode, &kind->kind, &kind->flags,
                          &kind->time_min_ns, &kind->future_hard_ns, &kind->skew_soft_ns, &kind->stale_soft_ns,
                          &kind->price_max, &PyTuple_Type, &own, &PyTuple_Type, &limits, &PyTuple_Type, &decimals,
                          &comparisons, &length)) {
        return -1;
    }
    kind->type = (PyTypeObject *)Py_NewRef(type);
    kind->encode = Py_NewRef(encode);
    kind->own_slots = PyTuple_GET_SIZE(own);
    kind->comparisons_count = length / 3;
    if (!PyCFunction_CheckExact(encode)) {
        PyErr_SetString(PyExc_TypeError, "no compiled encoder");
        return -1;
    }
    kind->encoder = PyCapsule_GetPointer(PyCFunction_GET_SELF(encode), ENCODER_NAME);
    if (kind->encoder == NULL) {
        return -1;
    }
    const int bounded = kind->future_hard_ns >= 0 && kind->future_hard_ns <= SPAN_NS_MAX &&
                        kind->skew_soft_ns >= 0 && kind->stale_soft_ns >= 0;
    if (kind->encoder->type != kind->type || !bounded || length % 3 != 0 || length / 3 > COMPARISONS_MAX ||
        PyTuple_GET_SIZE(limits) > UNITS_MAX || PyTuple_GET_SIZE(decimals) > DECIMALS_MAX || kind->kind < 0 ||
        kind->own_slots < (kind->flags & IS_BOOK ? ASK_SIZES + 1 : kind->flags & (IS_TRADE | IS_BAR) ? VOLUME + 1 : 1)) {
        PyErr_SetString(PyExc_ValueError, "a kind that does not fit");
        return -1;
    }
    return read_offsets(own, kind->own, OWN_SLOTS_MAX) < 0 || read_limits(kind, limits) < 0 ||
                   read_decimals(kind, decimals) < 0 || read_comparisons(kind->comparisons, comparisons, length) < 0
               ? -1
               : 0;
}

/* Whether what is read by its slots, or as a dict, is one. */
static int are_of_their_types(PyObject *const *objects) {
    for (int i = RECORD_TYPE; i <= IDENTITIES_TYPE; i++) {
        if (!PyType_Check(objects[i])) {
            return 0;
        }
    }
    for (int i = INTERVALS; i <= LAST_EVENTS; i++) {
        if (!PyDict_CheckExact(objects[i])) {
            return 0;
        }
    }
    return PyList_CheckExact(objects[PUBLISHED]) && Py_IS_TYPE(objects[CLOCK], (PyTypeObject *)objects[CLOCK_TYPE]) &&
           Py_IS_TYPE(objects[IDENTITIES], (PyTypeObject *)objects[IDENTITIES_TYPE]);
}

static int read_step(Step *step, PyObject *kinds, PyObject *slots, PyObject *objects) {
    if (PyTuple_GET_SIZE(slots) != SLOTS || PyTuple_GET_SIZE(objects) != OBJECTS) {
        PyErr_SetString(PyExc_ValueError, "not as many slots or objects as are known");
        return -1;
    }
    for (int i = 0; i < OBJECTS; i++) {
        step->objects[i] = Py_NewRef(PyTuple_GET_ITEM(objects, i));
    }
    if (!are_of_their_types(step->objects)) {
        PyErr_SetString(PyExc_TypeError, "an object of another type");
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kinds); i++) {
        step->count = i + 1;
        if (read_kind(&step->kinds[i], PyTuple_GET_ITEM(kinds, i)) < 0) {
            return -1;
        }
    }
    return read_offsets(slots, step->offsets, SLOTS);
}

static PyObject *make(PyObject *module, PyObject *args) {
    PyObject *kinds, *slots, *objects;
    int judges_lateness;
    long long offset_step_ns;
    double rounding, tick_tolerance, volume_tolerance;
    if (!PyArg_ParseTuple(args, "O!O!O!pLddd", &PyTuple_Type, &kinds, &PyTuple_Type, &slots, &PyTuple_Type, &objects,
                          &judges_lateness, &offset_step_ns, &rounding, &tick_tolerance, &volume_tolerance)) {
        return NULL;
    }
    Step *step = PyMem_Calloc(1, sizeof(Step) + (size_t)PyTuple_GET_SIZE(kinds) * sizeof(Kind));
    if (step == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(step, NAME, free_step);
    if (capsule == NULL) {
        PyMem_Free(step);
        return NULL;
    }
    step->judges_lateness = judges_lateness;
    step->offset_step_ns = offset_step_ns;
    step->rounding = rounding;
    step->tick_tolerance = tick_tolerance;
    step->volume_tolerance = volume_tolerance;
    PyObject *made = read_step(step, kinds, slots, objects) < 0 ? NULL : PyCFunction_New(&TAKE, capsule);
    Py_DECREF(capsule);
    return made;
}

/* For tests and benchmarks: the first part of a step alone. */
static PyObject *proves(PyObject *module, PyObject *const *arguments, Py_ssize_t arguments_count) {
    if (arguments_count != 2 || !PyCFunction_CheckExact(arguments[0])) {
        return PyErr_Format(PyExc_TypeError, "a step and a record");
    }
    const Step *step = PyCapsule_GetPointer(PyCFunction_GET_SELF(arguments[0]), NAME);
    if (step == NULL) {
        return NULL;
    }
    Reading reading = {.record = arguments[1]};
    const Kind *kind = kind_of(step, reading.record);
    const int is_proved = kind != NULL && is_sound(step, kind, &reading);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(is_proved);
}

/* For tests: whether all comparisons hold of numbers, a view in the order of its list. */
static PyObject *all_hold(PyObject *module, PyObject *args) {
    const unsigned char *bytes;
    Py_ssize_t length;
    PyObject *numbers;
    Step step = {.count = 0};
    Comparison comparisons[COMPARISONS_MAX];
    double view[NUMBERS];
    if (!PyArg_ParseTuple(args, "y#O!dd", &bytes, &length, &PyTuple_Type, &numbers, &step.rounding,
                          &step.tick_tolerance)) {
        return NULL;
    }
    if (length / 3 > COMPARISONS_MAX || PyTuple_GET_SIZE(numbers) != NUMBERS) {
        return PyErr_Format(PyExc_ValueError, "too many comparisons, or another list of numbers");
    }
    if (read_comparisons(comparisons, bytes, length) < 0) {
        return NULL;
    }
    for (int i = 0; i < NUMBERS; i++) {
        view[i] = PyFloat_AsDouble(PyTuple_GET_ITEM(numbers, i));
    }
    for (Py_ssize_t i = 0; i < length / 3 && !PyErr_Occurred(); i++) {
        if (!holds(&step, &comparisons[i], view)) {
            Py_RETURN_FALSE;
        }
    }
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_True);
}

static PyMethodDef METHODS[] = {
    {"make", make, METH_VARARGS, "make(kinds, slots, objects, judges_lateness, …): the step of one connection."},
    {"proves", (PyCFunction)(void (*)(void))proves, METH_FASTCALL,
     "proves(step, record): whether all rules but that of identities are silent; nothing is done."},
    {"all_hold", all_hold, METH_VARARGS, "all_hold(comparisons, numbers, rounding, tick_tolerance)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "etl.express._step", NULL, 0, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__step(void) { return PyModule_Create(&MODULE); }
