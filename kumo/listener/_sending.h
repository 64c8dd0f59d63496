/* Octets for several sockets, handed to the kernel by one system call where it has one.
 *
 * Linux' asynchronous input and output (io_submit(2)) takes many writes at once; those to sockets are over
 * when it returns. Everywhere else, and where a sandbox forbids it, each socket is written to by itself.
 */
#ifndef KUMO_SENDING_H
#define KUMO_SENDING_H

#include <errno.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>

#if defined(__linux__)
#include <linux/aio_abi.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS; Python ignores SIGPIPE anyway */
#endif

/* Sends of one system call, which is what the kernel is asked to keep room for. */
enum { KUMO_TOGETHER = 64 };

typedef struct {
    int descriptor;
    const char *octets;
    size_t length;
    size_t sent; /* of these octets; fewer where a buffer is full or a connection is gone */
} kumo_parcel;

static void kumo_send_one(kumo_parcel *parcel)
{
    ssize_t sent;

    do {
        sent = send(parcel->descriptor, parcel->octets, parcel->length, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    parcel->sent = sent < 0 ? 0 : (size_t)sent;
}

#if defined(__linux__)
/* One for the process: whoever calls holds the interpreter, and nothing is under way between two calls. A
 * child of a fork has none, which the kernel says at the first use. */
static aio_context_t kumo_submissions = 0;
static int kumo_may_submit = 1;

/* Whether there is a context to submit to, and its outcomes may be asked for. */
static int kumo_can_submit(void)
{
    struct io_event event;

    if (kumo_may_submit && kumo_submissions == 0) {
        kumo_may_submit = syscall(SYS_io_setup, (long)KUMO_TOGETHER, &kumo_submissions) == 0
            && syscall(SYS_io_getevents, kumo_submissions, 0L, 1L, &event, NULL) == 0;
    }
    return kumo_may_submit;
}

/* Note how much was sent of what was submitted; all of it is over, so that nothing is waited for. */
static void kumo_reap(kumo_parcel *parcels, long count)
{
    struct io_event events[KUMO_TOGETHER];
    long have = 0;

    while (have < count) {
        long more = syscall(SYS_io_getevents, kumo_submissions, count - have, count - have, events, NULL);
        if (more < 0 && errno != EINTR) {
            kumo_may_submit = 0;
            return;
        }
        for (long i = 0; i < more; i++) {
            parcels[events[i].data].sent = events[i].res < 0 ? 0 : (size_t)events[i].res;
        }
        have += more < 0 ? 0 : more;
    }
}

/* Send the first ones together. Returns how many that were; none where the kernel does not let us. */
static long kumo_submit(kumo_parcel *parcels, long count)
{
    struct iocb requests[KUMO_TOGETHER] = {0};
    struct iocb *pointers[KUMO_TOGETHER];
    long taken;

    for (long i = 0; i < count; i++) {
        requests[i].aio_data = (uint64_t)i;
        requests[i].aio_lio_opcode = IOCB_CMD_PWRITE;
        requests[i].aio_fildes = (uint32_t)parcels[i].descriptor;
        requests[i].aio_buf = (uint64_t)(uintptr_t)parcels[i].octets;
        requests[i].aio_nbytes = parcels[i].length;
        pointers[i] = &requests[i];
        /* Whatever comes: what was submitted is not sent twice. */
        parcels[i].sent = parcels[i].length;
    }
    taken = syscall(SYS_io_submit, kumo_submissions, count, pointers);
    if (taken < 0) {
        /* Anything but a lack of memory is for good, or of the first descriptor. */
        kumo_may_submit = errno == EAGAIN || errno == EBADF;
        return 0;
    }
    kumo_reap(parcels, taken);
    return taken;
}
#endif

/* Send to non-blocking sockets, and note in each parcel how much of it was sent. */
static void kumo_send_each(kumo_parcel *parcels, long count)
{
    for (long i = 0; i < count; i++) {
        kumo_send_one(&parcels[i]);
    }
}

/* The same, as far as may be by one system call. */
static void kumo_send_together(kumo_parcel *parcels, long count)
{
    long done = 0;

#if defined(__linux__)
    if (kumo_can_submit()) {
        done = kumo_submit(parcels, count);
    }
#endif
    kumo_send_each(parcels + done, count - done);
}

/* How often the system had something else run while this thread could have gone on. */
static long kumo_involuntary_switches(void)
{
#if defined(RUSAGE_THREAD)
    struct rusage usage;

    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
#else
    return 0;
#endif
}

#endif
