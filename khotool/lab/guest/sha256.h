/* SHA-256 as FIPS 180-4 has it, over a stream of bytes. */
#ifndef KHOTOOL_SHA256_H
#define KHOTOOL_SHA256_H

#include "system.h"

struct sha256 {
	u32 state[8];
	u64 size;
	u8 rest[64];
};

static const u32 sha256_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static u32 rotate(u32 x, int n)
{
	return x >> n | x << (32 - n);
}

static void sha256_block(struct sha256 *h, const u8 *p)
{
	u32 w[64], s[8];

	for (int i = 0; i < 16; i++)
		w[i] = (u32)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
	for (int i = 16; i < 64; i++) {
		u32 a = w[i - 15], b = w[i - 2];

		w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
		       (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
	}
	for (int i = 0; i < 8; i++)
		s[i] = h->state[i];
	for (int i = 0; i < 64; i++) {
		u32 e = s[4], a = s[0];
		u32 one = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
			  ((e & s[5]) ^ (~e & s[6])) + sha256_k[i] + w[i];
		u32 two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
			  ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));

		s[7] = s[6], s[6] = s[5], s[5] = e, s[4] = s[3] + one;
		s[3] = s[2], s[2] = s[1], s[1] = a, s[0] = one + two;
	}
	for (int i = 0; i < 8; i++)
		h->state[i] += s[i];
}

static void sha256_start(struct sha256 *h)
{
	static const u32 first[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
				      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

	memcpy(h->state, first, sizeof(first));
	h->size = 0;
}

static void sha256_add(struct sha256 *h, const u8 *p, u64 size)
{
	u64 have = h->size % 64;

	h->size += size;
	if (have) {
		u64 take = 64 - have < size ? 64 - have : size;

		memcpy(h->rest + have, p, take);
		p += take, size -= take, have += take;
		if (have == 64)
			sha256_block(h, h->rest);
	}
	for (; size >= 64; p += 64, size -= 64)
		sha256_block(h, p);
	if (size)
		memcpy(h->rest, p, size);
}

static void sha256_finish(struct sha256 *h, u8 digest[32])
{
	u64 bits = h->size * 8;
	u8 end[72] = { 0x80 };
	u64 pad = (h->size % 64 < 56 ? 56 : 120) - h->size % 64;

	for (int i = 0; i < 8; i++)
		end[pad + i] = bits >> (56 - 8 * i);
	sha256_add(h, end, pad + 8);
	for (int i = 0; i < 32; i++)
		digest[i] = h->state[i / 4] >> (24 - i % 4 * 8);
}

#endif
