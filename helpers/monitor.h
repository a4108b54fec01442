/*
 * The parts of rpod-monitor: options, log, streams with their clients, and the life of a container
 * (monitor.c). docs/HACKING.md has the options and the attach protocol.
 */
#ifndef RPOD_MONITOR_H
#define RPOD_MONITOR_H

#include <poll.h>
#include <sys/types.h>

#include "common.h"

#define PAYLOAD_MAX 32768 /* of one message of the attach protocol */
#define HELPERS_MAX 16
#define CLIENTS_MAX 64
#define LOCKS_MAX 4
#define WATCHED_MAX 4
#define KEPT_LOCK 3
#define MS_MAX (1ULL << 40) /* of a time that is given in milliseconds */
#define NEVER INT64_MAX

enum { STREAM_OUT, STREAM_ERR, STREAMS };

enum log_format { LOG_NONE, LOG_K8S, LOG_JSON, LOG_JOURNAL };

/* The command line. A descriptor that was not given is -1, a path NULL, a number 0. */
struct options {
    pid_t pid;
    pid_t helpers[HELPERS_MAX];
    unsigned helper_count;
    int locks[LOCKS_MAX]; /* held as long as the container is running */
    unsigned lock_count;
    int stdin_fd, stdout_fd, stderr_fd, tty_fd, listen_fd, client_fd, notify_fd;
    bool stdin_once;
    bool keep_lock; /* the cleanup gets the first lock, as descriptor KEPT_LOCK */
    uint64_t wait_ms; /* no container: wait that long, then exec the cleanup */
    const char *log_path;
    enum log_format log_format;
    uint64_t log_max_size; /* bytes of one file, 0 = it grows */
    uint64_t log_max_files; /* the current one and the rotated ones together */
    const char *journal_fields; /* "NAME=value\n" lines that every entry of the journal has */
    const char *exit_file;
    const char *event_log;
    const char *cgroup;
    const char *notify_manager; /* the service manager's socket */
    uint64_t timeout_s;
    char **cleanup; /* argv of what is exec'ed at the end, NULL = nothing */
    char **check; /* argv of the health check, NULL = none */
    uint64_t check_ms; /* until it is run first */
    char **mend; /* argv of what looks after the network, NULL = nothing */
    const char *watched[WATCHED_MAX]; /* files: it is run when one of them has changed */
    unsigned watched_count;
};

/* Fills `options` from argv; a message on standard error and false if they make no sense. */
bool options_read(struct options *options, char **argv);
/* One more process that ends with the container; false if there are too many. */
bool options_add_helper(struct options *options, pid_t pid);

/* A line on standard error: rpod-monitor: WHATPROBLEM. */
void warn(const char *what, const char *problem);

/*
 * Becomes a program that starts like any other: no blocked or ignored signal, no descriptor from `first_fd` on.
 * Returns only when that fails.
 */
void become(char **argv, unsigned first_fd);
/* Whether it is our child, dead or alive: only then may it be signalled, for later it may be anybody's pid. */
bool is_child(pid_t pid);

/* Takes the room that record_end() needs. */
void record_prepare(const struct options *options);
/* Writes down that init has ended: its `status` as waitpid(2) gives it, and whether for want of memory. */
void record_end(const struct options *options, int status, bool oom);

/* A UTF-8 sequence that may arrive in two reads. */
struct utf8 {
    unsigned char bytes[4];
    unsigned have, need;
};

/* What a stream of the container needs so that its log lines are whole. */
struct log_stream {
    const char *name; /* stdout, stderr */
    unsigned which;   /* STREAM_OUT, STREAM_ERR */
    bool partial;     /* the last record did not end its line */
    struct utf8 utf8;
};

/* The largest record: 8 KiB of which every byte becomes six (\u0000), and its frame. */
#define LOG_PIECE 8192
#define LOG_BATCH 16384
#define LOG_FILES_MAX 1000 /* renames at one rotation */
#define LOG_BUFFER (LOG_BATCH + 6 * LOG_PIECE + 256)

/* journald at the other end of a datagram socket (journal.c). */
struct journal {
    int fd; /* -1: not connected, the next entry tries again */
    const char *fields;
    uint64_t lost; /* entries that could not be sent since the last one that could */
    struct {
        size_t used;
        unsigned char data[LOG_PIECE];
    } lines[STREAMS]; /* what came of a line that has not ended yet */
};

void journal_open(struct journal *journal, const struct options *options);
/* How many of `count` bytes it took: fewer where journald has no room now, and then `fd` says when it has. */
size_t journal_data(struct journal *journal, unsigned which, const unsigned char *data, size_t count);
void journal_end(struct journal *journal, unsigned which);

struct log {
    const char *path;
    enum log_format format;
    uint64_t max_size, max_files;
    int fd;
    char time[32];   /* of what is being logged, in both formats the same but for the zone */
    uint64_t size;   /* of the file */
    uint64_t lost;   /* records that could not be written since the last one that could */
    int lost_reason; /* errno of the first of them */
    size_t used;     /* of buffer */
    unsigned char buffer[LOG_BUFFER];
    struct journal journal;
};

void log_open(struct log *log, const struct options *options);
/*
 * Logs what came from a stream and returns how much of it: less than `count` only where the journal has no
 * room now. Never fails: records that cannot be written are counted.
 */
size_t log_data(struct log *log, struct log_stream *stream, const unsigned char *data, size_t count);
/* The descriptor that becomes writable when the log has room again. */
int log_waits_for(const struct log *log);
/* Ends the last line of a stream if the program did not. */
void log_end(struct log *log, struct log_stream *stream);
void log_close(struct log *log);

/* One output of the container: the chunk that was read last stays until the log and every client have it. */
struct stream {
    int fd;
    char type; /* of its messages: 'o' or 'e' */
    bool terminal;
    bool draining;      /* the program has ended: only `allowance` more bytes are its own */
    size_t allowance;
    int64_t retry_at_ms; /* a terminal that nobody has open is tried again then; 0 = now */
    struct log_stream log;
    size_t logged; /* of `length` */
    size_t length;
    unsigned char data[PAYLOAD_MAX];
};

struct client {
    int fd; /* -1: a free place */
    bool foreground;   /* the one of --client, whose `k` counts */
    bool typed;        /* has sent input: its hang-up ends the container's */
    bool deaf;         /* has gone, but what it sent is still to be read */
    bool waits;        /* its next message is input, for which there is no room yet */
    bool owed[STREAMS]; /* has not got the stream's chunk */
    bool owed_exit;
};

/* A command beside the container (job.c). */
struct job {
    char **argv;
    pid_t pid; /* 0: it does not run */
    int answer_fd;
};

bool job_start(struct job *job);
bool job_runs(const struct job *job);
/* It has been reaped: its answer, as a string; false if it has none. */
bool job_ended(struct job *job, char *answer, size_t size);
void job_kill(const struct job *job);

/* The health check: when it is due, and the one that runs. */
struct check {
    struct job job;
    uint64_t interval_ms;
    int64_t due_ms;
    int64_t started_ms;
};

void check_open(struct check *check, const struct options *options);
/* Starts it if it is due. */
void check_run(struct check *check);
/* It has been reaped. */
void check_ended(struct check *check);
/* The container has ended: no check any more. */
void check_stop(struct check *check);

/* By which a changed or replaced file is known. All 0: it is not there. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    time_t seconds;
    long nanoseconds;
};

/* Keeping the network alive (mend.c). */
struct mend {
    struct job job;
    int64_t due_ms, last_ms;
    int64_t pause_ms; /* at least that long between two that helpers ask for */
    const char *const *watched;
    unsigned watched_count;
    struct stamp stamps[WATCHED_MAX];
};

void mend_open(struct mend *mend, const struct options *options);
/* The kernel says that something has changed in a watched directory. */
void mend_look(struct mend *mend);
void mend_helper_died(struct mend *mend);
int64_t mend_due(const struct mend *mend);
/* Starts it if it is due. */
void mend_run(struct mend *mend);
/* It has been reaped; the helpers that it started end with the container, too. */
void mend_ended(struct mend *mend, struct options *options);
void mend_stop(struct mend *mend);

/* Takes one message of the program's for the service manager and passes on what it may say. */
void notify_read(int fd, const char *manager);

/* Everything that moves bytes between the container, the log and the clients. */
struct pump {
    struct log log;
    struct stream streams[STREAMS];
    struct client clients[CLIENTS_MAX];
    int listen_fd;
    int tty_fd;   /* -1 without a terminal; the same number as streams[STREAM_OUT].fd */
    int stdin_fd; /* with a terminal its master */
    bool stdin_once;
    bool stdin_ending; /* close it when `input` is written */
    size_t input_at, input_length;
    char exit_text[16]; /* the message `x…` as soon as the container has ended */
    size_t exit_length;
    bool handed_over; /* the foreground client cleans up */
    int64_t progress_ms; /* when a client last took something */
    unsigned char input[PAYLOAD_MAX + 1]; /* and the terminal's end-of-file character */
};

#define PUMP_POLLS (STREAMS + 3 + CLIENTS_MAX)

void pump_open(struct pump *pump, const struct options *options);
/* Fills PUMP_POLLS places of `polls`; returns the milliseconds until it wants to be called anyway, -1 = never. */
int pump_prepare(struct pump *pump, struct pollfd *polls);
void pump_dispatch(struct pump *pump, const struct pollfd *polls);
/* The program has ended: from now on only what it has written already is read, and nothing given to it. */
void pump_drain(struct pump *pump);
/* Whether everything that was read is with the log and all clients. */
bool pump_drained(const struct pump *pump);
/* Forgets the clients, and the log, that have not taken all of their output. */
void pump_forget_slow(struct pump *pump);
/* Sends `x` to every client, also to those that are still waiting to be accepted. */
void pump_say_exit(struct pump *pump, int code, bool oom);
/* Whether the foreground client is there and can still answer. */
bool pump_awaits_answer(const struct pump *pump);
void pump_close(struct pump *pump);

#endif
