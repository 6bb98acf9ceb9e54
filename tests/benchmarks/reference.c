/*
 * The yardstick: totals of preserved memory by one walk in C.
 *
 * Reads an ELF core of 4 KiB pages, little-endian, with a radix tree of preserved blocks and the
 * folio records of memfds. Notes the owner of each page, and counts the pages of each owner, those
 * of several, and those that are claimed and not preserved. With BITS defined it keeps one bit a
 * page instead and tells no owners apart: less than any command answers, as a lower bound.
 * It follows no pointers but those it is given: reference IMAGE MAP-ROOT TABLE COUNT ...
 * where MAP-ROOT is the physical address of the tree's root, and each pair the first chunk of a
 * kho_vmalloc area of records of 16 bytes, and their number.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096
#define WORDS (PAGE / 8)

static const unsigned char *image;
static const Elf64_Phdr *segments;
static int count_segments;

static int before(const void *a, const void *b)
{
	const Elf64_Phdr *x = a, *y = b;

	return x->p_paddr < y->p_paddr ? -1 : x->p_paddr > y->p_paddr;
}

static const void *at(uint64_t address)
{
	int low = 0, high = count_segments - 1;

	while (low < high) {
		int middle = (low + high + 1) / 2;

		if (segments[middle].p_paddr <= address)
			low = middle;
		else
			high = middle - 1;
	}
	if (address - segments[low].p_paddr >= segments[low].p_filesz) {
		fprintf(stderr, "%#lx is not captured\n", (unsigned long)address);
		exit(1);
	}
	return image + segments[low].p_offset + (address - segments[low].p_paddr);
}

static uint64_t frames, *preserved, *twice;
#ifdef BITS
static uint64_t *once;
#else
static uint16_t *owner;
static uint64_t pages[1 << 16];
#endif

static void grow(uint64_t frame)
{
	if (frame > frames)
		frames = frame;
}

static void walk(uint64_t address, int level, uint64_t prefix, int fill)
{
	const uint64_t *words = at(address);
	unsigned int slot;

	for (slot = 0; slot < WORDS; slot++) {
		if (!words[slot])
			continue;
		if (level) {
			walk(words[slot], level - 1, prefix << 9 | slot, fill);
			continue;
		}
		/* The bit above the frame is the marker of order 0; larger blocks bit by bit. */
		uint64_t key = prefix << 15 | (uint64_t)slot << 6;

		if (key >> 52) {
			uint64_t frame = key & ((1UL << 52) - 1);

			if (fill)
				preserved[frame / 64] |= words[slot];
			else
				grow(frame + 64);
			continue;
		}
		for (uint64_t left = words[slot]; left; left &= left - 1) {
			uint64_t one = key | __builtin_ctzl(left);
			int marker = 63 - __builtin_clzl(one), order = 52 - marker;
			uint64_t frame = (one ^ 1UL << marker) << order, end = frame + (1UL << order);

			if (!fill)
				grow(end);
			else
				for (; frame < end; frame++)
					preserved[frame / 64] |= 1UL << frame % 64;
		}
	}
}

int main(int argc, char **argv)
{
	struct stat status;
	int file = open(argv[1], O_RDONLY);
	uint64_t root = strtoull(argv[2], NULL, 0);
	uint64_t total = 0, owned = 0, outside = 0, doubles = 0;

	if (file < 0 || fstat(file, &status))
		return 1;
	image = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
	const Elf64_Ehdr *head = (const void *)image;
	const Elf64_Phdr *stored = (const void *)(image + head->e_phoff);
	Elf64_Phdr *sorted = malloc(sizeof(*sorted) * head->e_phnum);

	for (int i = 0; i < head->e_phnum; i++)
		if (stored[i].p_type == PT_LOAD)
			sorted[count_segments++] = stored[i];
	qsort(sorted, count_segments, sizeof(*sorted), before);
	segments = sorted;
	walk(root, 5, 0, 0);
	preserved = calloc(frames / 64 + 1, 8);
#ifdef BITS
	once = calloc(frames / 64 + 1, 8);
#else
	owner = calloc(frames + 64, sizeof(*owner));
#endif
	twice = calloc(frames / 64 + 1, 8);
	walk(root, 5, 0, 1);
	for (int i = 3; i + 1 < argc; i += 2) {
		uint64_t chunk = strtoull(argv[i], NULL, 0), left = strtoull(argv[i + 1], NULL, 0);

		while (chunk && left) {
			const uint64_t *link = at(chunk);

			for (int page = 1; page < WORDS && left; page++) {
				const uint64_t *record = at(link[page]);
				int rows = left < PAGE / 16 ? left : PAGE / 16;

				for (int row = 0; row < rows; row++) {
					uint64_t frame = record[2 * row] & ((1UL << 52) - 1);
					uint64_t bit = 1UL << frame % 64;

					if (!frame || frame >= frames)
						continue;
#ifdef BITS
					if (once[frame / 64] & bit)
						twice[frame / 64] |= bit;
					once[frame / 64] |= bit;
#else
					if (!owner[frame])
						owner[frame] = i / 2;
					else if (owner[frame] != i / 2)
						twice[frame / 64] |= bit;
#endif
				}
				left -= rows;
			}
			chunk = link[0];
		}
	}
#ifdef BITS
	for (uint64_t i = 0; i < frames / 64 + 1; i++) {
		total += __builtin_popcountl(preserved[i]);
		owned += __builtin_popcountl(preserved[i] & once[i]);
		outside += __builtin_popcountl(once[i] & ~preserved[i]);
		doubles += __builtin_popcountl(preserved[i] & twice[i]);
	}
#else
	for (uint64_t frame = 0; frame < frames; frame++) {
		int held = preserved[frame / 64] >> frame % 64 & 1;

		total += held;
		if (!owner[frame])
			continue;
		if (held)
			pages[owner[frame]]++;
		else
			outside++;
		doubles += held & twice[frame / 64] >> frame % 64;
	}
	for (int i = 0; i < 1 << 16; i++)
		owned += pages[i];
#endif
	printf("preserved %lu owned %lu outside %lu twice %lu\n", total, owned, outside, doubles);
	return 0;
}
