/* Whether every rule is silent, by the comparisons that etl/express/proofs.py has for each. What is not proved here is
 * not bad: the plain check says what it is. */
#include <math.h>

#include "_step.h"

#define SHORT_TEXT_MAX 19 /* has at most 19 digits on either side of the point, and they fit into 64 bits */
#define EXACT_MAX (1ULL << 53)

enum how { LESS, AT_MOST, PRESENT, DIFFERENT, ON_STEP };

static const double POWERS[SHORT_TEXT_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,
                                                  1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19};

/* Whether text is a short plain decimal; its number is the float64 that float() makes of it. */
static int read_decimal(PyObject *text, double *number) {
    if (text == NULL || !PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text)) {
        return 0;
    }
    const Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    const char *start = (const char *)PyUnicode_1BYTE_DATA(text), *end = start + length, *place = start;
    if (length > SHORT_TEXT_MAX) {
        return 0;
    }
    unsigned long long digits = 0;
    const char *point = NULL, *first = place += *place == '-';
    for (; place < end; place++) {
        if (*place >= '0' && *place <= '9') {
            digits = digits * 10 + (unsigned long long)(*place - '0');
        } else if (*place == '.' && point == NULL && place > first) {
            point = place;
        } else {
            return 0;
        }
    }
    if (first == end || point == end - 1) {
        return 0;
    }
    if (digits > EXACT_MAX) { /* one division would round twice */
        *number = PyOS_string_to_double(start, NULL, NULL);
        if (*number == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            return 0;
        }
        return 1;
    }
    *number = (double)digits / POWERS[point == NULL ? 0 : end - 1 - point];
    if (first != start) {
        *number = -*number;
    }
    return 1;
}

static int is_on_step(const Step *step, double price, double price_step) {
    if (isnan(price_step)) {
        return 1;
    }
    if (!(price_step > 0)) {
        return 0;
    }
    const double steps = price / price_step, rounded = (steps + step->rounding) - step->rounding;
    return !(fabs(steps - rounded) > step->tick_tolerance * (1 + steps * 1e-9));
}

/* As the rules compare: what is absent is NaN, and each but PRESENT holds of it. */
int holds(const Step *step, const Comparison *comparison, const double *numbers) {
    const double left = numbers[comparison->left], right = numbers[comparison->right];
    switch (comparison->how) {
    case LESS:
        return !(left >= right);
    case AT_MOST:
        return !(left > right);
    case PRESENT:
        return !isnan(left);
    case DIFFERENT:
        return left != right;
    case ON_STEP:
        return is_on_step(step, left, right);
    default:
        return 0;
    }
}

/* As the plain check, the clock learns nothing of bars, of snapshots and of changes without a level. */
static int teaches_clock(const Step *step, const Kind *kind, PyObject *record) {
    if (kind->flags & IS_BOOK) {
        PyObject *bids = at(record, kind->own[BID_PRICES]), *asks = at(record, kind->own[ASK_PRICES]);
        return at(record, kind->own[BOOK_ACTION]) != step->objects[SNAPSHOT] && bids != NULL && asks != NULL &&
               PyTuple_CheckExact(bids) && PyTuple_CheckExact(asks) &&
               PyTuple_GET_SIZE(bids) + PyTuple_GET_SIZE(asks) > 0;
    }
    return !(kind->flags & IS_BAR);
}

/* Whether no rule of times can find anything; and what the clock learns. */
static int is_on_time(const Step *step, const Kind *kind, Reading *reading) {
    long long published_ns, took_ns, offset_ns;
    PyObject *record = reading->record;
    if (!read_id(slot(step, record, EVENT_TIME), &reading->event_ns) ||
        !read_id(slot(step, record, RECEIVE_TIME), &reading->receive_ns) ||
        !read_id(slot(step, record, PUBLISH_TIME), &published_ns) ||
        !read_id(slot(step, record, PARTICIPANT_TIME), &took_ns) || reading->receive_ns == 0) {
        return 0;
    }
    const long long event_ns = reading->event_ns, newest_ns = reading->receive_ns + kind->future_hard_ns;
    if (event_ns == 0) {
        return !(kind->flags & (DECLARES_TIME | IS_BAR)) && published_ns == 0 && took_ns == 0;
    }
    if (event_ns < kind->time_min_ns || event_ns > newest_ns ||
        (published_ns != 0 && (published_ns < kind->time_min_ns || published_ns > newest_ns)) ||
        (took_ns != 0 && (took_ns < kind->time_min_ns || took_ns > newest_ns))) {
        return 0;
    }
    if (!step->judges_lateness) {
        return 1;
    }
    PyObject *offset = slot(step, step->objects[CLOCK], CLOCK_OFFSET);
    reading->teaches_clock = teaches_clock(step, kind, record);
    if (offset == Py_None) {
        return !reading->teaches_clock; /* else it takes a sample */
    }
    if (!read_number(offset, &offset_ns) || offset_ns > SPAN_NS_MAX || offset_ns < -SPAN_NS_MAX) {
        return 0;
    }
    const long long difference_ns = event_ns - reading->receive_ns;
    if (reading->teaches_clock) {
        offset_ns += difference_ns > offset_ns ? step->offset_step_ns : -step->offset_step_ns;
        reading->clock_offset_ns = offset_ns;
    }
    const long long late_ns = difference_ns - offset_ns;
    return -kind->stale_soft_ns <= late_ns && late_ns <= kind->skew_soft_ns;
}

/* What is normal of the symbol. */
static int read_band(const Step *step, Reading *reading) {
    PyObject *band = PyDict_GetItemWithError(step->objects[BANDS], slot(step, reading->record, SYMBOL));
    if (band == NULL) {
        band = step->objects[UNKNOWN_BAND];
    }
    if (!Py_IS_TYPE(band, (PyTypeObject *)step->objects[BAND_TYPE])) {
        return 0;
    }
    for (int i = 0; i <= BAND_HARD_HIGH - BAND_STEP; i++) {
        PyObject *number = slot(step, band, (enum slot)(BAND_STEP + i));
        if (number == NULL || !PyFloat_CheckExact(number)) {
            return 0;
        }
        reading->numbers[PRICE_STEP + i] = PyFloat_AS_DOUBLE(number);
    }
    return 1;
}

/* One side of a book, and what both have of prices and sizes. */
static int read_side(const Kind *kind, Reading *reading, enum own_slot first, int is_relative, double *bounds) {
    PyObject *prices = at(reading->record, kind->own[first]), *sizes = at(reading->record, kind->own[first + 1]);
    double *numbers = reading->numbers, price, size;
    if (prices == NULL || sizes == NULL || !PyTuple_CheckExact(prices) || !PyTuple_CheckExact(sizes) ||
        PyTuple_GET_SIZE(prices) != PyTuple_GET_SIZE(sizes)) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(prices); i++) {
        if (!read_decimal(PyTuple_GET_ITEM(prices, i), &price) || !read_decimal(PyTuple_GET_ITEM(sizes, i), &size)) {
            return 0;
        }
        size = is_relative ? fabs(size) : size;
        bounds[0] = fmin(bounds[0], price);
        bounds[1] = fmax(bounds[1], price);
        numbers[SIZE_MIN] = fmin(numbers[SIZE_MIN], size);
        numbers[SIZE_TOP] = fmax(numbers[SIZE_TOP], size);
    }
    numbers[PRICE_MIN] = fmin(numbers[PRICE_MIN], bounds[0]);
    numbers[PRICE_TOP] = fmax(numbers[PRICE_TOP], bounds[1]);
    return 1;
}

/* Sides of uneven length are not read. The best prices are compared of a snapshot only. */
static int read_levels(const Step *step, const Kind *kind, Reading *reading) {
    PyObject *action = at(reading->record, kind->own[BOOK_ACTION]);
    const int is_relative = action == step->objects[RELATIVE], is_snapshot = action == step->objects[SNAPSHOT];
    double *numbers = reading->numbers, bids[2] = {INFINITY, -INFINITY}, asks[2] = {INFINITY, -INFINITY};
    numbers[UNEVEN] = 0;
    numbers[PRICE_MIN] = numbers[SIZE_MIN] = INFINITY;
    numbers[PRICE_TOP] = numbers[SIZE_TOP] = -INFINITY;
    if (!read_side(kind, reading, BID_PRICES, is_relative, bids) ||
        !read_side(kind, reading, ASK_PRICES, is_relative, asks)) {
        return 0;
    }
    numbers[BEST_BID] = is_snapshot && !isinf(bids[1]) ? bids[1] : NAN;
    numbers[BEST_ASK] = is_snapshot && !isinf(asks[0]) ? asks[0] : NAN;
    return 1;
}

/* Intervals that are not in the list are not judged for alignment. */
static int read_interval(const Step *step, const Kind *kind, Reading *reading) {
    PyObject *interval = at(reading->record, kind->own[BAR_INTERVAL]);
    double *numbers = reading->numbers;
    long long interval_ns = 0;
    if (interval == NULL || !PyUnicode_CheckExact(interval)) {
        return 0;
    }
    numbers[MISALIGNED] = 0;
    if (PyUnicode_GET_LENGTH(interval) > 0) {
        PyObject *known = PyDict_GetItemWithError(step->objects[INTERVALS], interval);
        if (known == NULL) {
            interval_ns = -1;
        } else if (!read_number(known, &interval_ns) || interval_ns <= 0) {
            return 0;
        } else {
            numbers[MISALIGNED] = (double)(reading->event_ns % interval_ns);
        }
    }
    numbers[INTERVAL] = (double)interval_ns;
    numbers[QUOTE_LEAST] = numbers[LOW] * numbers[SIZE] * (1 - step->volume_tolerance);
    numbers[QUOTE_MOST] = numbers[HIGH] * numbers[SIZE] * (1 + step->volume_tolerance);
    return 1;
}

/* The numbers that the rules of kind compare. */
static int read_view(const Step *step, const Kind *kind, Reading *reading) {
    double *numbers = reading->numbers;
    long long unit;
    if (!read_number(at(reading->record, kind->own[0]), &unit) || unit < 0 || unit >= kind->units) {
        return 0;
    }
    numbers[ZERO] = 0;
    numbers[INFINITE] = INFINITY;
    numbers[PRICE_MAX] = kind->price_max;
    numbers[SIZE_SOFT_MAX] = kind->size_soft_max[unit];
    numbers[SIZE_HARD_MAX] = kind->size_hard_max[unit];
    for (Py_ssize_t i = 0; i < kind->decimals_count; i++) {
        PyObject *text = at(reading->record, kind->decimals[i].offset);
        double *number = &numbers[kind->decimals[i].number];
        if (text == Py_None) {
            *number = NAN;
        } else if (!read_decimal(text, number)) {
            return 0;
        }
    }
    return (!(kind->flags & IS_PRINT) || read_band(step, reading)) &&
           (!(kind->flags & IS_BOOK) || read_levels(step, kind, reading)) &&
           (!(kind->flags & IS_BAR) || read_interval(step, kind, reading));
}

int is_sound(const Step *step, const Kind *kind, Reading *reading) {
    PyObject *flags = slot(step, reading->record, FLAGS);
    if (flags == NULL || !PyTuple_CheckExact(flags) || PyTuple_GET_SIZE(flags) != 0) {
        return 0;
    }
    if (!is_on_time(step, kind, reading) || !read_view(step, kind, reading)) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < kind->comparisons_count; i++) {
        if (!holds(step, &kind->comparisons[i], reading->numbers)) {
            return 0;
        }
    }
    /* levels that wait to be confirmed are moved by every trade */
    return !(kind->flags & IS_TRADE) ||
           (PyDict_GET_SIZE(step->objects[LEVELS]) == 0 && PyDict_GET_SIZE(step->objects[STEPS]) == 0);
}
