/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32. Every section of an SST ends with it (storage format 2.2), so each byte passes here when it is written and
 * when it is read. zlib does it with tables. Where the processor multiplies polynomials, long inputs are first folded
 * to 16 bytes that have the same remainder, which is many times faster:
 *   the input is a polynomial, a sum of 128-bit parts, each times x^d, d its distance from the end;
 *   part * x^d = (high half * (x^(d+64) mod P)) + (low half * (x^d mod P)), which is added to the part d bits behind
 * (V. Gopal et al., Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction, Intel 2009). Bits are in
 * reflected order, as the checksum takes them, and the constants, too: x^(d+32) mod P and x^(d-32) mod P, reflected.
 */

#include "base/crc32.h"

#include "base/bytes.h"

#include <zlib.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_FOLDING 1
#include <immintrin.h>
#else
#define HAVE_FOLDING 0
#endif

#if HAVE_FOLDING
#define PART 16
#define FOLD_MIN (6 * PART) /* shorter inputs are the table's */

__attribute__((target("pclmul"))) static inline __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* x, moved on by the distance that k stands for, added to what lies there. */
__attribute__((target("pclmul"))) static inline __m128i fold(__m128i x, __m128i k, __m128i there)
{
    return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, k, 0x00), _mm_clmulepi64_si128(x, k, 0x11)), there);
}

/* The remainder of 16 bytes: down to 96 bits, to 64, and the division of those by Barrett's method. */
__attribute__((target("pclmul"))) static uint32_t reduce(__m128i x)
{
    const __m128i by_64 = _mm_set_epi64x(0x163cd6124, 0x0ccaa009e);
    const __m128i barrett = _mm_set_epi64x(0x1f7011641, 0x1db710641); /* x^64 div P, and P */
    const __m128i low32 = _mm_set_epi64x(0, UINT32_MAX);
    __m128i t;

    x = _mm_xor_si128(_mm_srli_si128(x, 8), _mm_clmulepi64_si128(x, by_64, 0x00));
    x = _mm_xor_si128(_mm_srli_si128(x, 4), _mm_clmulepi64_si128(_mm_and_si128(x, low32), by_64, 0x10));
    t = _mm_clmulepi64_si128(_mm_and_si128(x, low32), barrett, 0x10);
    t = _mm_clmulepi64_si128(_mm_and_si128(t, low32), barrett, 0x00);
    return (uint32_t)_mm_cvtsi128_si32(_mm_srli_si128(_mm_xor_si128(x, t), 4));
}

/*
 * The register behind n bytes, at least FOLD_MIN. Four parts at a time, as the processor multiplies several at once;
 * then one. Zeros in front change no remainder, and so it is the first part that is filled up to a whole one.
 */
__attribute__((target("pclmul"))) static uint32_t by_folding(uint32_t reg, const uint8_t *p, size_t n)
{
    const __m128i by_512 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
    const __m128i by_128 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    size_t zeros = (PART - n % PART) % PART;
    uint8_t head[2 * PART] = { 0 };
    __m128i x0, x1, x2, x3;

    memcpy(head + zeros, p, sizeof(head) - zeros);
    put_u32le(head + zeros, get_u32le(head + zeros) ^ reg);
    p += sizeof(head) - zeros;
    n -= sizeof(head) - zeros;
    x0 = load(head);
    x1 = load(head + PART);
    x2 = load(p);
    x3 = load(p + PART);
    for (p += 2 * PART, n -= 2 * PART; n >= 4 * PART; p += 4 * PART, n -= 4 * PART) {
        x0 = fold(x0, by_512, load(p));
        x1 = fold(x1, by_512, load(p + PART));
        x2 = fold(x2, by_512, load(p + 2 * PART));
        x3 = fold(x3, by_512, load(p + 3 * PART));
    }
    x0 = fold(fold(fold(x0, by_128, x1), by_128, x2), by_128, x3);
    for (; n > 0; p += PART, n -= PART)
        x0 = fold(x0, by_128, load(p));
    return reduce(x0);
}
#endif

uint32_t crc32_of(struct shale_slice s)
{
    return crc32_extend(0, s);
}

uint32_t crc32_extend(uint32_t crc, struct shale_slice s)
{
    if (s.len == 0)
        return crc;
#if HAVE_FOLDING
    if (s.len >= FOLD_MIN && __builtin_cpu_supports("pclmul"))
        return ~by_folding(~crc, s.data, s.len);
#endif
    return (uint32_t)crc32_z(crc, s.data, s.len);
}
