/*
 * A test with two stages, as the kernel tree's live update selftests have them: "-s 1" preserves
 * and stays, "-s 2" takes back. "[STAGE 2]" is how such a program is recognised.
 */
#include "../../khotool/lab/guest/system.h"

struct session { u32 size; int fd; u8 name[64]; };
struct file { u32 size; int fd; u64 token; };

static const char *const marks[] = {
	"[STAGE 1] preserves a session\n", "[STAGE 2] takes it back\n",
};
static const char word[] = "hello kexec world";

static void leave(int status)
{
	CALL(exit, status, 0, 0, 0, 0, 0);
}

static void check(long code, int status)
{
	if (code < 0)
		leave(status);
}

static void say(const char *text)
{
	u64 length = 0;

	while (text[length])
		length++;
	write_file(1, text, length);
}

static void preserve(int luo)
{
	struct session s = { .size = sizeof(s), .fd = -1, .name = "staged" };
	struct file f = { .size = sizeof(f), .token = 0x1a };

	say(marks[0]);
	check(control(luo, 0xba00, &s), 2);
	f.fd = CALL(memfd_create, "staged", 0, 0, 0, 0, 0);
	check(CALL(ftruncate, f.fd, 4096, 0, 0, 0, 0), 3);
	check(CALL(pwrite64, f.fd, word, sizeof(word), 0, 0, 0), 3);
	check(control(s.fd, 0xba40, &f), 4);
	close_file(luo);
	/* A session is gone with its last descriptor, so a child holds it. */
	if (!CALL(clone, 17, 0, 0, 0, 0, 0))
		for (;;)
			wait_milliseconds(1000);
}

static void take_back(int luo)
{
	struct session s = { .size = sizeof(s), .fd = -1, .name = "staged" };
	struct file f = { .size = sizeof(f), .fd = -1, .token = 0x1a };
	struct { u32 size, reserved; } finish = { .size = sizeof(finish) };
	static char found[sizeof(word)];

	say(marks[1]);
	check(control(luo, 0xba01, &s), 5);
	check(control(s.fd, 0xba41, &f), 6);
	check(CALL(pread64, f.fd, found, sizeof(found), 0, 0, 0), 7);
	for (u64 i = 0; i < sizeof(word); i++)
		if (found[i] != word[i])
			leave(8);
	check(control(s.fd, 0xba42, &finish), 9);
}

void start(u64 *stack)
{
	long luo = open_file("/dev/liveupdate", O_RDWR);
	const char *stage = stack[0] > 2 ? (const char *)stack[3] : "1";

	check(luo, 4);
	if (stage[0] == '1')
		preserve(luo);
	else
		take_back(luo);
	leave(0);
	for (;;)
		;
}
