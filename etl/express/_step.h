/* The express step: what _check.c and _follow.c read of a record, and _step.c writes once all of it is proved. */
#ifndef ETL_EXPRESS_STEP_H
#define ETL_EXPRESS_STEP_H

#include "_express.h"

/* Slots, objects and the numbers of a view, each by the order of the list in step.py that has its name. */
enum slot {
    SYMBOL, CHANNEL, EVENT_TIME, RECEIVE_TIME, SOURCE, RECORD_KEY, KEY_TIME, SEQUENCE, FIRST_SEQUENCE,
    PREVIOUS_SEQUENCE, PUBLISH_TIME, PARTICIPANT_TIME, FLAGS,
    TRACK_NEWEST, COUNTED_LAST, COUNTED_IS_QUIET, COUNTED_SPAN, COUNTED_BAR_NS, TIMED_OPEN,
    JOIN_IS_JOINED, JOIN_IS_SUSPECT, JOIN_SEQUENCE, JOIN_TIME, JOIN_SNAPSHOT_TIME, JOIN_HELD, JOIN_BACKWARD,
    JOIN_ID_COUNTS, JOIN_IS_FRESH,
    CLOCK_OFFSET, IDENTITIES_RECENT, IDENTITIES_OLDER, IDENTITIES_WINDOW,
    BAND_STEP, BAND_FIGURES, BAND_SOFT_LOW, BAND_SOFT_HIGH, BAND_HARD_LOW, BAND_HARD_HIGH,
    SLOTS
};

enum object {
    RECORD_TYPE, GAP_TYPE, CONTIGUOUS_TYPE, COUNTED_TYPE, TIMED_TYPE, JOIN_TYPE, BAND_TYPE, CLOCK_TYPE, IDENTITIES_TYPE,
    CONTIGUOUS_SPAN, RANGE_SPAN, BACK_POINTER_SPAN, STREAM, REPLAY, SNAPSHOT, RELATIVE, OPEN, UNKNOWN_BAND,
    CLOCK, IDENTITIES,
    INTERVALS, BANDS, LEVELS, STEPS, TRACKS, BROKEN_BOOKS, JOINS, KEYS, LAST_EVENTS,
    PUBLISHED, TOPIC, PUBLISH,
    OBJECTS
};

enum number {
    ZERO, INFINITE, PRICE_MAX, SIZE_SOFT_MAX, SIZE_HARD_MAX, PRICE, SIZE,
    PRICE_STEP, PRICE_FIGURES, PRICE_SOFT_LOW, PRICE_SOFT_HIGH, PRICE_HARD_LOW, PRICE_HARD_HIGH,
    BID, BID_SIZE, ASK, ASK_SIZE,
    PRICE_MIN, PRICE_TOP, SIZE_MIN, SIZE_TOP, BEST_BID, BEST_ASK, UNEVEN,
    BAR_OPEN, HIGH, LOW, CLOSE, VWAP, QUOTE_VOLUME, TAKER_BUY_VOLUME, INTERVAL, MISALIGNED, QUOTE_LEAST, QUOTE_MOST,
    NUMBERS
};

enum flag { DECLARES_TIME = 1, IS_PRINT = 2, IS_TRADE = 4, IS_BOOK = 8, IS_BAR = 16 };
enum own_slot { BOOK_ACTION = 1, BID_PRICES, BID_SIZES, ASK_PRICES, ASK_SIZES }; /* after the unit of size */
enum own_bar_slot { BAR_INTERVAL = 1, BAR_STATE };
enum own_trade_slot { LAST_PRICE = 1, VOLUME };

#define TIME_NS_MAX (1LL << 62)
#define SPAN_NS_MAX (1LL << 61)
#define ID_MAX (1LL << 62)
#define UNITS_MAX 8
#define DECIMALS_MAX 8
#define COMPARISONS_MAX 48
#define OWN_SLOTS_MAX 6

typedef struct {
    unsigned char how, left, right;
} Comparison;

typedef struct {
    Py_ssize_t offset; /* of the text in the record */
    int number;
} Decimal;

/* A kind of records, and all that its spec says. */
typedef struct {
    PyTypeObject *type;
    PyObject *encode;
    const ProvingEncoder *encoder;
    int kind, flags;
    long long time_min_ns, future_hard_ns, skew_soft_ns, stale_soft_ns;
    double price_max, size_soft_max[UNITS_MAX], size_hard_max[UNITS_MAX];
    Py_ssize_t units, own_slots, decimals_count, comparisons_count;
    Py_ssize_t own[OWN_SLOTS_MAX]; /* offsets */
    Decimal decimals[DECIMALS_MAX];
    Comparison comparisons[COMPARISONS_MAX];
} Kind;

typedef struct {
    PyObject *objects[OBJECTS];
    Py_ssize_t offsets[SLOTS];
    int judges_lateness;
    long long offset_step_ns;
    double rounding, tick_tolerance, volume_tolerance;
    Py_ssize_t count;
    Kind kinds[];
} Step;

/* What was read of one record, and what is to be written when all is proved; the references are borrowed. */
typedef struct {
    PyObject *record;
    long long event_ns, receive_ns, clock_offset_ns, last, id_count;
    int teaches_clock, moves_track, counts_last, joins, counts_ids;
    PyObject *track, *join;
    double numbers[NUMBERS];
} Reading;

static inline PyObject *at(PyObject *owner, Py_ssize_t offset) { return *(PyObject **)((char *)owner + offset); }

static inline PyObject *slot(const Step *step, PyObject *owner, enum slot which) {
    return at(owner, step->offsets[which]);
}

/* Whether value is an id or a time that can be added to. */
static inline int read_id(PyObject *value, long long *id) {
    return read_number(value, id) && *id >= 0 && *id <= ID_MAX;
}

/* Whether every rule of kind is silent about the record. */
int is_sound(const Step *step, const Kind *kind, Reading *reading);
int holds(const Step *step, const Comparison *comparison, const double *numbers);

/* Whether the record is what its channel, and its book, go on with. */
int is_next(const Step *step, const Kind *kind, Reading *reading);
/* Move them on. -1 and an error if out of memory. */
int move_on(const Step *step, const Kind *kind, const Reading *reading);
int put_number(const Step *step, PyObject *owner, enum slot which, long long number);
void put_object(const Step *step, PyObject *owner, enum slot which, PyObject *value);

#endif
