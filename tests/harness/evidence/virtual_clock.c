/* A CLOCK_REALTIME of one process's own, so that a servo can steer it while the host's clock stays untouched.
 *
 * Loaded with LD_PRELOAD; VIRTUAL_CLOCK names a file of `struct shared`, which a test makes and also reads, so that
 * the clock's true error is known exactly:
 *
 *     virtual(t) = t + error_ns + (t - since_ns) * (natural_ppb + steering) / 1e9 + jump_ns
 *
 * with t the host's CLOCK_REALTIME. The kernel's software timestamps are moved the same way; those of received packets
 * also by receive_ns, as if the fibre towards this end were longer by that.
 * A process without a usable file is aborted: it must never reach the host's clock.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL
#define NOMINAL_TICK_US 10000 /* at USER_HZ 100 */
#define MOST_FREQUENCY 32768000 /* 500 ppm in the kernel's 2^-16 ppm */

struct shared {
	_Atomic int64_t sequence; /* odd while this process writes */
	/* written by this process once it runs */
	int64_t since_ns;
	int64_t error_ns;
	int64_t frequency; /* as in struct timex: 2^-16 ppm */
	int64_t tick_us;
	int64_t status;
	int64_t tai_s;
	int64_t steered; /* how often somebody set frequency or time */
	/* written by the test */
	int64_t natural_ppb;
	int64_t receive_ns;
	int64_t jump_ns;
};

static struct shared *state;

static int64_t host_ns(void)
{
	struct timespec now;

	syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	return now.tv_sec * NS + now.tv_nsec;
}

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("VIRTUAL_CLOCK");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		abort();
	close(fd);
	state = at;
}

/* 2^-16 ppm, all of it */
static int64_t rate(void)
{
	return state->natural_ppb * 65536 / 1000 + state->frequency + (state->tick_us - NOMINAL_TICK_US) * 100 * 65536;
}

static int64_t error_at(int64_t host)
{
	__int128 grown = (__int128)(host - state->since_ns) * rate() / (65536LL * 1000000);

	return state->error_ns + (int64_t)grown;
}

static int64_t virtual_ns(int64_t host)
{
	return host + error_at(host) + state->jump_ns;
}

static void split(int64_t ns, struct timespec *out)
{
	out->tv_sec = ns / NS;
	out->tv_nsec = ns % NS;
	if (out->tv_nsec < 0) {
		out->tv_sec--;
		out->tv_nsec += NS;
	}
}

/* Between the two the observer sees an odd sequence and reads again. */
static void begin(void)
{
	int64_t now = host_ns();
	int64_t error = error_at(now);

	atomic_fetch_add(&state->sequence, 1);
	state->since_ns = now;
	state->error_ns = error;
}

static void commit(void)
{
	state->steered++;
	atomic_fetch_add(&state->sequence, 1);
}

int clock_gettime(clockid_t id, struct timespec *out)
{
	if (id == CLOCK_REALTIME) {
		split(virtual_ns(host_ns()), out);
		return 0;
	}
	return (int)syscall(SYS_clock_gettime, id, out);
}

int clock_settime(clockid_t id, const struct timespec *to)
{
	if (id != CLOCK_REALTIME) {
		errno = EPERM;
		return -1;
	}
	begin();
	state->error_ns = to->tv_sec * NS + to->tv_nsec - state->since_ns - state->jump_ns;
	commit();
	return 0;
}

int settimeofday(const struct timeval *to, const struct timezone *zone)
{
	struct timespec exact;

	(void)zone;
	if (!to)
		return 0;
	exact.tv_sec = to->tv_sec;
	exact.tv_nsec = to->tv_usec * 1000;
	return clock_settime(CLOCK_REALTIME, &exact);
}

int clock_adjtime(clockid_t id, struct timex *tx)
{
	if (id != CLOCK_REALTIME || tx->modes & ~(ADJ_FREQUENCY | ADJ_TICK | ADJ_SETOFFSET | ADJ_NANO | ADJ_STATUS |
						  ADJ_MAXERROR | ADJ_ESTERROR | ADJ_TAI)) {
		errno = EPERM;
		return -1;
	}
	if (tx->modes & (ADJ_FREQUENCY | ADJ_TICK | ADJ_SETOFFSET)) {
		begin();
		if (tx->modes & ADJ_FREQUENCY) {
			int64_t wanted = tx->freq;

			state->frequency = wanted > MOST_FREQUENCY ? MOST_FREQUENCY
							 : wanted < -MOST_FREQUENCY ? -MOST_FREQUENCY : wanted;
		}
		if (tx->modes & ADJ_TICK)
			state->tick_us = tx->tick;
		if (tx->modes & ADJ_SETOFFSET)
			state->error_ns += tx->time.tv_sec * NS + tx->time.tv_usec * (tx->modes & ADJ_NANO ? 1 : 1000);
		commit();
	}
	if (tx->modes & ADJ_STATUS)
		state->status = tx->status;
	if (tx->modes & ADJ_TAI)
		state->tai_s = tx->constant;
	tx->freq = state->frequency;
	tx->tick = state->tick_us;
	tx->status = (int)state->status;
	tx->tai = (int)state->tai_s;
	tx->tolerance = MOST_FREQUENCY;
	tx->precision = 1;
	return TIME_OK;
}

int adjtimex(struct timex *tx)
{
	return clock_adjtime(CLOCK_REALTIME, tx);
}

int ntp_adjtime(struct timex *tx)
{
	return clock_adjtime(CLOCK_REALTIME, tx);
}

static void move(struct timespec *stamp, int64_t late_ns)
{
	if (stamp->tv_sec || stamp->tv_nsec)
		split(virtual_ns(stamp->tv_sec * NS + stamp->tv_nsec) + late_ns, stamp);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t got = syscall(SYS_recvmsg, fd, message, flags);
	int64_t late_ns = flags & MSG_ERRQUEUE ? 0 : state->receive_ns;
	struct cmsghdr *each;

	for (each = got < 0 ? NULL : CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each)) {
		struct timespec stamps[3];

		/* the first of SCM_TIMESTAMPING's three is the software stamp; SCM_TIMESTAMPNS has only one */
		if (each->cmsg_level != SOL_SOCKET ||
		    (each->cmsg_type != SO_TIMESTAMPING && each->cmsg_type != SO_TIMESTAMPNS))
			continue;
		memcpy(stamps, CMSG_DATA(each), sizeof(stamps[0]));
		move(&stamps[0], late_ns);
		memcpy(CMSG_DATA(each), stamps, sizeof(stamps[0]));
	}
	return got;
}
