/* Whether a record goes on in its channel and its book where nothing waits, was lost or goes back; see
 * etl/sequencing/continuity.py. It reads and writes the state of the plain way, so that any record may go either. */
#include "_step.h"

void put_object(const Step *step, PyObject *owner, enum slot which, PyObject *value) {
    PyObject **place = (PyObject **)((char *)owner + step->offsets[which]), *before = *place;
    *place = Py_NewRef(value);
    Py_XDECREF(before);
}

int put_number(const Step *step, PyObject *owner, enum slot which, long long number) {
    PyObject *value = PyLong_FromLongLong(number);
    if (value == NULL) {
        return -1;
    }
    put_object(step, owner, which, value);
    Py_DECREF(value);
    return 0;
}

/* A channel without ids: only whether it is newer is asked. */
static int is_next_timed(const Step *step, Reading *reading) {
    PyObject *record = reading->record, *before = slot(step, reading->track, TRACK_NEWEST);
    PyObject *sequence = slot(step, record, SEQUENCE), *sequence_before;
    long long id, id_before, event_ns, receive_ns;
    if (slot(step, reading->track, TIMED_OPEN) != Py_None || before == NULL || sequence == NULL ||
        Py_IS_TYPE(before, (PyTypeObject *)step->objects[GAP_TYPE]) ||
        !PyObject_TypeCheck(before, (PyTypeObject *)step->objects[RECORD_TYPE])) {
        return 0;
    }
    sequence_before = slot(step, before, SEQUENCE);
    reading->moves_track = 1;
    if (sequence == Py_None || sequence_before == Py_None) {
        return 1;
    }
    if (!read_id(sequence, &id) || !read_id(sequence_before, &id_before) ||
        !read_id(slot(step, before, EVENT_TIME), &event_ns) ||
        !read_id(slot(step, before, RECEIVE_TIME), &receive_ns)) {
        return 0;
    }
    const long long before_ns = event_ns ? event_ns : receive_ns;
    const long long time_ns = reading->event_ns ? reading->event_ns : reading->receive_ns;
    reading->moves_track = id > id_before || time_ns > before_ns;
    return 1;
}

/* Bars are numbered by their times; of open ones nothing is asked. */
static int is_next_bar(const Step *step, const Kind *kind, Reading *reading, long long last) {
    long long bar_ns;
    if (!(kind->flags & IS_BAR) || !read_id(slot(step, reading->track, COUNTED_BAR_NS), &bar_ns) || bar_ns == 0) {
        return 0;
    }
    if (at(reading->record, kind->own[BAR_STATE]) == step->objects[OPEN]) {
        return 1;
    }
    reading->last = reading->event_ns / bar_ns;
    reading->counts_last = reading->moves_track = 1;
    return reading->last == last + 1;
}

/* A channel whose ids prove that nothing is missing. */
static int is_next_counted(const Step *step, const Kind *kind, Reading *reading) {
    PyObject *record = reading->record, *track = reading->track, *span = slot(step, track, COUNTED_SPAN);
    PyObject *sequence = slot(step, record, SEQUENCE);
    long long last, id = 0, first;
    if (slot(step, track, COUNTED_IS_QUIET) != Py_True || !read_id(slot(step, track, COUNTED_LAST), &last)) {
        return 0;
    }
    const int is_contiguous = span == step->objects[CONTIGUOUS_SPAN];
    const int is_pointing = span == step->objects[BACK_POINTER_SPAN];
    if (!is_contiguous && !is_pointing && span != step->objects[RANGE_SPAN]) {
        return is_next_bar(step, kind, reading, last);
    }
    if (sequence != Py_None && !read_id(sequence, &id)) {
        return 0;
    }
    if (kind->flags & IS_BOOK && at(record, kind->own[BOOK_ACTION]) == step->objects[SNAPSHOT]) {
        /* no link of the chain, unless it tells that the venue counts anew */
        return !is_contiguous && (sequence == Py_None || id >= last);
    }
    if (sequence == Py_None) {
        return 0;
    }
    reading->last = id;
    reading->counts_last = reading->moves_track = 1;
    if (is_contiguous) {
        return id == last + 1;
    }
    if (!read_id(slot(step, record, is_pointing ? PREVIOUS_SEQUENCE : FIRST_SEQUENCE), &first)) {
        return 0;
    }
    return first + is_pointing <= last + 1 && last + 1 <= id;
}

static int is_next_of_channel(const Step *step, const Kind *kind, Reading *reading) {
    PyObject *source = slot(step, reading->record, SOURCE);
    if (source != step->objects[STREAM] && source != step->objects[REPLAY]) {
        return 0;
    }
    if (kind->flags & IS_BOOK && PyDict_GET_SIZE(step->objects[BROKEN_BOOKS]) != 0) {
        return 0;
    }
    PyObject *key = PyTuple_Pack(2, slot(step, reading->record, SYMBOL), slot(step, reading->record, CHANNEL));
    if (key == NULL) {
        return 0;
    }
    PyObject *track = reading->track = PyDict_GetItemWithError(step->objects[TRACKS], key);
    Py_DECREF(key);
    if (track == NULL) {
        return 0;
    }
    if (Py_IS_TYPE(track, (PyTypeObject *)step->objects[TIMED_TYPE])) {
        return is_next_timed(step, reading);
    }
    return (Py_IS_TYPE(track, (PyTypeObject *)step->objects[CONTIGUOUS_TYPE]) ||
            Py_IS_TYPE(track, (PyTypeObject *)step->objects[COUNTED_TYPE])) &&
           is_next_counted(step, kind, reading);
}

/* Whether a whole book goes on, where nothing waits in it: a snapshot that is newer, or a change right behind it. */
static int is_next_of_book(const Step *step, const Kind *kind, Reading *reading) {
    PyObject *record = reading->record, *join, *held, *backward;
    join = reading->join = PyDict_GetItemWithError(step->objects[JOINS], slot(step, record, SYMBOL));
    if (join == NULL || !Py_IS_TYPE(join, (PyTypeObject *)step->objects[JOIN_TYPE])) {
        return 0;
    }
    held = slot(step, join, JOIN_HELD);
    backward = slot(step, join, JOIN_BACKWARD);
    if (slot(step, join, JOIN_IS_JOINED) != Py_True || slot(step, join, JOIN_IS_SUSPECT) != Py_False || held == NULL ||
        PyObject_Size(held) != 0 || backward == NULL || !PyList_CheckExact(backward) || PyList_GET_SIZE(backward) != 0) {
        return 0;
    }
    PyObject *sequence = slot(step, record, SEQUENCE), *last = slot(step, join, JOIN_SEQUENCE);
    PyObject *previous = slot(step, record, PREVIOUS_SEQUENCE), *first = slot(step, record, FIRST_SEQUENCE);
    long long id, last_id, before;
    if (sequence == Py_None) {
        return 1;
    }
    if (!read_id(sequence, &id)) {
        return 0;
    }
    if (last == Py_None) {
        return 1;
    }
    if (!read_id(last, &last_id)) {
        return 0;
    }
    reading->id_count = id - last_id > 1 ? id - last_id : 1;
    reading->counts_ids = 1;
    if (at(record, kind->own[BOOK_ACTION]) == step->objects[SNAPSHOT]) {
        return id > last_id;
    }
    if (previous == Py_None && first == Py_None) {
        return id > last_id; /* nothing else tells */
    }
    if (!read_id(previous == Py_None ? first : previous, &before)) {
        return 0;
    }
    return before - (previous == Py_None) == last_id && id != last_id;
}

int is_next(const Step *step, const Kind *kind, Reading *reading) {
    return (!(kind->flags & IS_BOOK) || is_next_of_book(step, kind, reading)) &&
           is_next_of_channel(step, kind, reading);
}

static int move_book(const Step *step, const Kind *kind, const Reading *reading) {
    PyObject *record = reading->record, *join = reading->join, *sequence = slot(step, record, SEQUENCE);
    if (at(record, kind->own[BOOK_ACTION]) == step->objects[SNAPSHOT]) {
        put_object(step, join, JOIN_SEQUENCE, sequence);
        put_object(step, join, JOIN_IS_FRESH, Py_True);
        put_object(step, join, JOIN_SNAPSHOT_TIME, slot(step, record, EVENT_TIME));
        return put_number(step, join, JOIN_TIME, 0);
    }
    if (reading->counts_ids) {
        PyObject *count = PyLong_FromLongLong(reading->id_count), *done = NULL;
        if (count != NULL) {
            done = PyObject_CallMethod(slot(step, join, JOIN_ID_COUNTS), "append", "O", count);
        }
        Py_XDECREF(count);
        if (done == NULL) {
            return -1;
        }
        Py_DECREF(done);
    }
    if (sequence != Py_None) {
        put_object(step, join, JOIN_SEQUENCE, sequence);
    }
    put_object(step, join, JOIN_TIME, slot(step, record, EVENT_TIME));
    put_object(step, join, JOIN_IS_FRESH, Py_False);
    return 0;
}

int move_on(const Step *step, const Kind *kind, const Reading *reading) {
    if (kind->flags & IS_BOOK && move_book(step, kind, reading) < 0) {
        return -1;
    }
    if (reading->counts_last && put_number(step, reading->track, COUNTED_LAST, reading->last) < 0) {
        return -1;
    }
    if (reading->moves_track) {
        put_object(step, reading->track, TRACK_NEWEST, reading->record);
    }
    return 0;
}
