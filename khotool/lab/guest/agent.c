/*
 * The agent: what khotool runs inside the guest.
 *
 * It reads a scenario, one command per line, and reports one fact per line, marked with "@@kho ".
 * Facts go through /dev/kmsg, so that they cannot be cut in two by a message of the kernel.
 * Strings are written in hexadecimal on both ways. docs/explanation/laboratory.md has the commands.
 *
 * As process 1 it mounts what it needs and reads /khotool/scenario; otherwise the scenario is its
 * first argument.
 */
#include "sha256.h"
#include "system.h"

#define SCENARIO "/khotool/scenario"
#define BLOB "/khotool/blob"
#define STOP "/khotool/stop"

enum { PRESERVE_NOTHING = -1, MOST_WORDS = 16, PIECE = 1 << 16 };
enum { F_ADD_SEALS = 1033, F_GET_SEALS = 1034, MFD_ALLOW_SEALING = 2 };
enum { KEXEC_FILE_NO_INITRAMFS = 4 };

/* ioctls of /dev/liveupdate and of a session: include/uapi/linux/liveupdate.h. */
enum {
	CREATE_SESSION = 0xba00, RETRIEVE_SESSION = 0xba01,
	PRESERVE_FD = 0xba40, RETRIEVE_FD = 0xba41, SESSION_FINISH = 0xba42,
};
struct session_request { u32 size; int fd; u8 name[64]; };
struct fd_request { u32 size; int fd; u64 token; };
struct finish_request { u32 size; u32 reserved; };

static int log_fd = 1, luo = -1, session = -1, file = -1, blob = -1;
static u64 token, position, seals, page_size = 4096;
static u8 piece[PIECE];

/* -- one line of output --------------------------------------------------------------- */

static char line[512];
static u64 used;

static void text(const char *s)
{
	while (*s && used < sizeof(line) - 2)
		line[used++] = *s++;
}

static void number(long value)
{
	char digits[24];
	int n = 0;
	u64 rest = value < 0 ? -(u64)value : (u64)value;

	do
		digits[n++] = '0' + rest % 10;
	while (rest /= 10);
	if (value < 0)
		digits[n++] = '-';
	while (n && used < sizeof(line) - 2)
		line[used++] = digits[--n];
}

static void hexadecimal(const u8 *p, u64 size)
{
	for (; size && used < sizeof(line) - 3; p++, size--) {
		line[used++] = "0123456789abcdef"[*p >> 4];
		line[used++] = "0123456789abcdef"[*p & 15];
	}
}

static void address(u64 value)
{
	u8 bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = value >> (56 - 8 * i);
	text("0x");
	hexadecimal(bytes, 8);
}

static void fact(const char *name)
{
	used = 0;
	text("@@kho ");
	text(name);
	text(" ");
}

static void say(void)
{
	line[used] = '\n';
	write_file(log_fd, line, used + 1);
}

static void result(const char *name, long code)
{
	fact(name);
	number(code < 0 ? -code : 0);
	say();
}

/* -- words of a command --------------------------------------------------------------- */

static char *words[MOST_WORDS];
static int count;

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static u64 parse(int index)
{
	const char *s = index < count ? words[index] : "0";
	u64 value = 0;

	if (s[0] == '0' && s[1] == 'x') {
		for (s += 2; *s; s++)
			value = value << 4 | (*s <= '9' ? *s - '0' : (*s | 32) - 'a' + 10);
		return value;
	}
	for (; *s; s++)
		value = value * 10 + (*s - '0');
	return value;
}

static int nibble(char c)
{
	return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* The name of a session as hexadecimal digits, at most 64 bytes; the kernel wants a NUL. */
static void parse_name(const char *hex, u8 name[64])
{
	memset(name, 0, 64);
	for (int i = 0; i < 64 && hex[0] && hex[1]; i++, hex += 2)
		name[i] = nibble(hex[0]) << 4 | nibble(hex[1]);
}

/* -- commands ------------------------------------------------------------------------- */

static void mount_all(void)
{
	static const char *const where[] = { "/dev", "devtmpfs", "/proc", "proc", "/sys", "sysfs",
					     "/sys/kernel/debug", "debugfs", "/tmp", "tmpfs" };

	for (int i = 0; i < 10; i += 2) {
		CALL(mkdirat, AT_FDCWD, where[i], 0755, 0, 0, 0);
		CALL(mount, "none", where[i], where[i + 1], 0, 0, 0);
	}
}

static void open_log(void)
{
	long fd = open_file("/dev/kmsg", O_WRONLY);

	if (fd >= 0) {
		log_fd = fd;
		return;
	}
	fd = open_file("/dev/console", O_RDWR);
	if (fd >= 0)
		log_fd = fd;
}

static void hello(void)
{
	static char names[6][65];

	CALL(uname, names, 0, 0, 0, 0, 0);
	fact("hello");
	text(names[2]);
	text(" ");
	text(names[4]);
	text(" ");
	number(page_size);
	say();
}

/* write PATH TEXT: a knob of sysfs, procfs or debugfs. */
static void do_write(void)
{
	long fd = open_file(words[1], O_WRONLY), code = fd;
	u64 size = 0;

	while (words[2][size])
		size++;
	if (fd >= 0) {
		code = write_file(fd, words[2], size);
		close_file(fd);
	}
	fact("write");
	text(words[1]);
	text(" ");
	number(code < 0 ? -code : 0);
	say();
}

static long open_luo(void)
{
	if (luo < 0) {
		luo = open_file("/dev/liveupdate", O_RDWR);
		result("liveupdate", luo);
	}
	return luo;
}

/* session NAME, retrieve NAME: the session that the commands after it are about. */
static void do_session(u64 request)
{
	struct session_request r = { .size = sizeof(r), .fd = -1 };
	long code = open_luo();

	session = -1;
	parse_name(count > 1 ? words[1] : "", r.name);
	if (code >= 0)
		code = control(luo, request, &r);
	if (code >= 0)
		session = r.fd;
	fact("session");
	text(count > 1 ? words[1] : "");
	text(" ");
	number(code < 0 ? -code : 0);
	say();
}

/* Size, position, seals and the first MOST bytes of the file, after the words of a fact. */
static void describe(u64 most)
{
	struct sha256 h;
	u8 digest[32];
	u64 at = 0;
	long n = 0, size = seek(file, 0, SEEK_END);

	sha256_start(&h);
	while (at < most && (n = CALL(pread64, file, piece, PIECE, at, 0, 0)) > 0) {
		sha256_add(&h, piece, n);
		at += n;
	}
	sha256_finish(&h, digest);
	text(" ");
	number(size);
	text(" ");
	number(position);
	text(" ");
	number(seals);
	text(" ");
	if (n < 0) {
		text("-");
		number(-n);
	} else {
		hexadecimal(digest, 32);
	}
}

/* file TOKEN SIZE POSITION SEALS: a memfd; what it holds comes with put, and keep preserves it. */
static void do_file(void)
{
	token = parse(1), position = parse(3), seals = parse(4);
	file = CALL(memfd_create, "khotool", MFD_ALLOW_SEALING, 0, 0, 0, 0);
	long code = file < 0 ? file : CALL(ftruncate, file, parse(2), 0, 0, 0, 0);

	if (code < 0)
		result("memfd", code);
}

/* put OFFSET FROM SIZE: copy a part of the blob into the file. */
static void do_put(void)
{
	u64 to = parse(1), from = parse(2), left = parse(3);

	if (blob < 0)
		blob = open_file(BLOB, O_RDONLY);
	while (left) {
		long n = CALL(pread64, blob, piece, left < PIECE ? left : PIECE, from, 0, 0);

		if (n > 0)
			n = CALL(pwrite64, file, piece, n, to, 0, 0);
		if (n <= 0) {
			result("put", n ? n : -5);
			return;
		}
		to += n, from += n, left -= n;
	}
}

/* keep: say what the file is, then preserve it. */
static void do_keep(void)
{
	struct fd_request r = { .size = sizeof(r), .fd = file, .token = token };
	long code;

	fact("file");
	address(token);
	text(" 0");
	describe(-1ul);
	say();
	seek(file, position, SEEK_SET);
	code = seals ? CALL(fcntl, file, F_ADD_SEALS, seals, 0, 0, 0) : 0;
	if (code < 0)
		result("seals", code);
	code = session < 0 ? -9 : control(session, PRESERVE_FD, &r);
	fact("kept");
	address(token);
	text(" ");
	number(code < 0 ? -code : 0);
	say();
}

/* get TOKEN MOST: retrieve a file and say what came back; MOST bounds the time that takes. */
static void do_get(void)
{
	struct fd_request r = { .size = sizeof(r), .fd = -1, .token = parse(1) };
	long code = session < 0 ? -9 : control(session, RETRIEVE_FD, &r);

	token = r.token;
	fact("file");
	address(token);
	text(" ");
	number(code < 0 ? -code : 0);
	if (code >= 0) {
		file = r.fd;
		position = seek(file, 0, SEEK_CUR);
		seals = CALL(fcntl, file, F_GET_SEALS, 0, 0, 0, 0);
		describe(count > 2 ? parse(2) : -1ul);
	}
	say();
}

static void do_finish(void)
{
	struct finish_request r = { .size = sizeof(r) };

	result("finish", session < 0 ? -9 : control(session, SESSION_FINISH, &r));
}

/* load: the stop kernel as the next one. */
static void do_load(void)
{
	long fd = open_file(STOP, O_RDONLY);

	result("load", fd < 0 ? fd : CALL(kexec_file_load, fd, -1, 1, "", KEXEC_FILE_NO_INITRAMFS, 0));
}

static void restart(u32 how)
{
	/* Consoles may print from a thread. */
	wait_milliseconds(100);
	result("reboot", CALL(reboot, 0xfee1dead, 672274793, how, 0, 0, 0));
}

/* Eight stores a turn: an emulated processor spends more on the loop than on a store. */
static void fill(void *memory, u64 size)
{
	volatile u64 *p = memory, *end = p + size / 8;
	const u64 value = 0xa5a5a5a5a5a5a5a5ul;

	for (; p < end; p += 8) {
		p[0] = value, p[1] = value, p[2] = value, p[3] = value;
		p[4] = value, p[5] = value, p[6] = value, p[7] = value;
	}
}

/*
 * scrub LEAVE MOST: overwrite free memory, but LEAVE bytes and a sixteenth of all, and at most MOST
 * bytes, and give it back.
 * What the kernel should have kept and did not is then no longer what it was.
 */
static void do_scrub(void)
{
	struct { long up; u64 loads[3], total, free, rest[16]; } info;
	u64 leave = parse(1), most = parse(2), done = 0, step = 1 << 21;

	CALL(sysinfo, &info, 0, 0, 0, 0, 0);
	leave += info.total / 16;
	u64 size = info.free > leave ? (info.free - leave) & ~(step - 1) : 0;

	size = size < most ? size : most;
	u8 *p = size ? (u8 *)CALL(mmap, 0, size, 3, 0x4022, -1, 0) : (u8 *)-1;

	if ((long)p > 0 || (long)p < -4095) {
		for (; done < size; done += step) {
			fill(p + done, step);
			CALL(sysinfo, &info, 0, 0, 0, 0, 0);
			if (info.free < leave)
				break;
		}
		CALL(munmap, p, size, 0, 0, 0, 0);
	}
	fact("scrub");
	number(done);
	say();
}

/* run PROGRAM ARGUMENT...: its output goes to the console. */
static void do_run(void)
{
	static char *const environment[] = { "PATH=/bin:/sbin:/usr/bin:/usr/sbin:/khotool", "HOME=/", 0 };
	int status = 0;
	long child = CALL(clone, 17, 0, 0, 0, 0, 0);

	if (!child) {
		long fd = open_file("/dev/console", O_RDWR);

		for (int i = 0; fd >= 0 && i < 3; i++)
			CALL(dup3, fd, i, 0, 0, 0, 0);
		words[count] = 0;
		CALL(exit, CALL(execve, words[1], words + 1, environment, 0, 0, 0) ? 127 : 0, 0, 0, 0, 0, 0);
	}
	while (child > 0) {
		long code = CALL(wait4, child, &status, 0, 0, 0, 0);

		if (code == child || (code < 0 && code != -EINTR))
			break;
	}
	fact("ran");
	number(child < 0 ? -child : status & 127 ? 128 + (status & 127) : status >> 8 & 255);
	text(" ");
	text(words[1]);
	say();
}

static void command(void)
{
	const char *name = words[0];

	if (same(name, "write") && count > 2)
		do_write();
	else if (same(name, "session"))
		do_session(CREATE_SESSION);
	else if (same(name, "retrieve"))
		do_session(RETRIEVE_SESSION);
	else if (same(name, "file"))
		do_file();
	else if (same(name, "put"))
		do_put();
	else if (same(name, "keep"))
		do_keep();
	else if (same(name, "get"))
		do_get();
	else if (same(name, "finish"))
		do_finish();
	else if (same(name, "load"))
		do_load();
	else if (same(name, "kexec"))
		restart(0x45584543);
	else if (same(name, "scrub"))
		do_scrub();
	else if (same(name, "run") && count > 1)
		do_run();
	else if (same(name, "end")) {
		result("end", 0);
		restart(0x01234567);
	} else
		result("unknown", -22);
}

/* -- reading the scenario ------------------------------------------------------------- */

static void split(char *s)
{
	for (count = 0; *s && count < MOST_WORDS - 1;) {
		while (*s == ' ')
			*s++ = 0;
		if (!*s)
			break;
		words[count++] = s;
		while (*s && *s != ' ')
			s++;
	}
}

static void follow(const char *path)
{
	static char buffer[4096], command_line[1024];
	u64 length = 0;
	long n, fd = open_file(path, O_RDONLY);

	if (fd < 0) {
		result("scenario", fd);
		return;
	}
	while ((n = read_file(fd, buffer, sizeof(buffer))) > 0) {
		for (long i = 0; i < n; i++) {
			if (buffer[i] != '\n') {
				if (length < sizeof(command_line) - 1)
					command_line[length++] = buffer[i];
				continue;
			}
			command_line[length] = 0;
			length = 0;
			split(command_line);
			if (count && words[0][0] != '#')
				command();
		}
	}
	close_file(fd);
}

void start(u64 *stack)
{
	u64 arguments = stack[0];
	u64 limit[2] = { 65536, 65536 };
	u64 *p = stack + 1 + arguments + 1;
	int first;

	while (*p++)
		;
	for (; p[0]; p += 2)
		if (p[0] == AT_PAGESZ)
			page_size = p[1];
	first = CALL(getpid, 0, 0, 0, 0, 0, 0) == 1;
	if (first)
		mount_all();
	open_log();
	CALL(setrlimit, 7, limit, 0, 0, 0, 0);
	hello();
	follow(arguments > 1 && !first ? (const char *)stack[2] : SCENARIO);
	if (first) {
		result("end", 0);
		restart(0x01234567);
		for (;;)
			wait_milliseconds(1000);
	}
	CALL(exit, 0, 0, 0, 0, 0, 0);
	for (;;)
		;
}
