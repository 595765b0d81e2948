// SPDX-License-Identifier: Apache-2.0
// Floating point and vector instructions on fixed pseudo-random inputs, NaNs and denormals among them. Prints
// a line `VECTOR group HASH` for each group of instructions, or `VECTOR group absent` if CPUID does not
// show it. Processors of one model give the same hashes, so the guest's output must be the host's.

#include <immintrin.h>
#include <math.h>

#include "result.h"

enum { Rounds = 2000 };

static uint64_t seed, hash;

static uint64_t random64(void) {  // splitmix64
    uint64_t z = (seed += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void add(const void* bytes, size_t size) {  // FNV-1a
    for (size_t i = 0; i < size; i++) hash = (hash ^ ((const uint8_t*)bytes)[i]) * 0x100000001b3;
}
#define ADD(value)                    \
    ({                                \
        __auto_type value_ = (value); \
        add(&value_, sizeof value_);  \
    })

// Vectors whose elements are partly any bit pattern and partly near each other, so that sums do not just lose
// one.
static __m128i random128(void) { return _mm_set_epi64x((long long)random64(), (long long)random64()); }
static __m128 floats(void) {
    __m128i bits = random128();
    if (random64() & 3)
        bits = _mm_or_si128(_mm_and_si128(bits, _mm_set1_epi32((int)0x80ffffff)), _mm_set1_epi32(0x3f000000));
    return _mm_castsi128_ps(bits);
}
static __m128d doubles(void) {
    __m128i bits = random128();
    if (random64() & 3)
        bits = _mm_or_si128(_mm_and_si128(bits, _mm_set1_epi64x((long long)0x800fffffffffffff)),
                            _mm_set1_epi64x(0x3fe0000000000000));
    return _mm_castsi128_pd(bits);
}

static void sse(void) {
    const unsigned modes[] = {0x1f80, 0x3f80, 0x5f80, 0x7f80, 0x9fc0};  // four roundings, then flush to zero
    for (int i = 0; i < Rounds; i++) {
        _mm_setcsr(modes[i % 5]);
        __m128 a = floats(), b = floats();
        __m128d c = doubles(), d = doubles();
        ADD(_mm_add_ps(a, b)), ADD(_mm_sub_ps(a, b)), ADD(_mm_mul_ps(a, b)), ADD(_mm_div_ps(a, b));
        ADD(_mm_sqrt_ps(a)), ADD(_mm_min_ps(a, b)), ADD(_mm_max_ss(a, b)), ADD(_mm_cmple_ps(a, b));
        ADD(_mm_add_pd(c, d)), ADD(_mm_sub_sd(c, d)), ADD(_mm_mul_pd(c, d)), ADD(_mm_div_pd(c, d));
        ADD(_mm_sqrt_pd(c)), ADD(_mm_cvtps_pd(a)), ADD(_mm_cvtpd_ps(c)), ADD(_mm_cvtps_epi32(a));
        ADD(_mm_cvttsd_si64(c)), ADD(_mm_cvtsd_si32(d)), ADD(_mm_comilt_ss(a, b)), ADD(_mm_ucomieq_sd(c, d));
        ADD(_mm_movemask_ps(a)), ADD(_mm_unpackhi_pd(c, d)), ADD(_mm_shuffle_ps(a, b, 0x6c));
        ADD(_mm_getcsr());
    }
    _mm_setcsr(0x1f80);
}

static void sse_integer(void) {
    for (int i = 0; i < Rounds; i++) {
        __m128i a = random128(), b = random128(), n = _mm_cvtsi32_si128((int)(random64() % 70));
        ADD(_mm_adds_epi16(a, b)), ADD(_mm_subs_epu8(a, b)), ADD(_mm_mulhi_epi16(a, b)),
            ADD(_mm_madd_epi16(a, b));
        ADD(_mm_mul_epu32(a, b)), ADD(_mm_sad_epu8(a, b)), ADD(_mm_avg_epu16(a, b)),
            ADD(_mm_packs_epi32(a, b));
        ADD(_mm_sll_epi32(a, n)), ADD(_mm_sra_epi16(a, n)), ADD(_mm_srl_epi64(a, n)),
            ADD(_mm_cmpgt_epi8(a, b));
        ADD(_mm_shufflelo_epi16(a, 0x1b)), ADD(_mm_unpacklo_epi8(a, b)), ADD(_mm_movemask_epi8(a));
    }
}

__attribute__((target("sse4.2"))) static void sse4(void) {
    for (int i = 0; i < Rounds; i++) {
        __m128i a = random128(), b = random128(), letters = _mm_and_si128(a, _mm_set1_epi8(3));
        __m128 x = floats(), y = floats();
        ADD(_mm_shuffle_epi8(a, b)), ADD(_mm_maddubs_epi16(a, b)), ADD(_mm_hadd_epi16(a, b)),
            ADD(_mm_sign_epi8(a, b));
        ADD(_mm_alignr_epi8(a, b, 5)), ADD(_mm_mullo_epi32(a, b)), ADD(_mm_mpsadbw_epu8(a, b, 3)),
            ADD(_mm_minpos_epu16(a));
        ADD(_mm_dp_ps(x, y, 0xb7)), ADD(_mm_round_ps(x, 1)), ADD(_mm_round_pd(doubles(), 2)),
            ADD(_mm_blendv_epi8(a, b, letters));
        ADD(_mm_cmpestri(letters, 9, _mm_and_si128(b, _mm_set1_epi8(3)), 14, 0x0c)),
            ADD(_mm_cmpistrm(letters, b, 0x40));
        ADD(_mm_cmpistrc(letters, b, 0x14)), ADD(_mm_crc32_u64(random64(), random64())),
            ADD(_mm_crc32_u8((unsigned)random64(), 7));
        ADD(_mm_testc_si128(a, b)), ADD(_mm_cmpgt_epi64(a, b)), ADD(_mm_extract_epi8(a, 11)),
            ADD(_mm_packus_epi32(a, b));
    }
}

__attribute__((target("avx2"))) static __m256i random256(void) {
    return _mm256_set_m128i(random128(), random128());
}

__attribute__((target("avx2"))) static void avx2(void) {
    static int32_t table[256];
    for (int i = 0; i < 256; i++) table[i] = (int32_t)random64();
    for (int i = 0; i < Rounds; i++) {
        __m256i a = random256(), b = random256(), index = _mm256_and_si256(a, _mm256_set1_epi32(255));
        __m256 x = _mm256_set_m128(floats(), floats()), y = _mm256_set_m128(floats(), floats());
        __m256d u = _mm256_set_m128d(doubles(), doubles()), v = _mm256_set_m128d(doubles(), doubles());
        ADD(_mm256_add_ps(x, y)), ADD(_mm256_mul_pd(u, v)), ADD(_mm256_div_ps(x, y)), ADD(_mm256_sqrt_pd(u));
        ADD(_mm256_hadd_pd(u, v)), ADD(_mm256_addsub_ps(x, y)), ADD(_mm256_cmp_ps(x, y, 0x1d)),
            ADD(_mm256_dp_ps(x, y, 0xf1));
        ADD(_mm256_permutevar8x32_epi32(a, b)), ADD(_mm256_permute4x64_epi64(a, 0x39)),
            ADD(_mm256_shuffle_epi8(a, b));
        ADD(_mm256_i32gather_epi32(table, index, 4)), ADD(_mm256_mask_i32gather_epi32(a, table, index, b, 4));
        ADD(_mm256_sllv_epi32(a, _mm256_and_si256(b, _mm256_set1_epi32(63)))),
            ADD(_mm256_srav_epi32(a, index));
        ADD(_mm256_maskload_epi32(table, a)), ADD(_mm256_mul_epi32(a, b)), ADD(_mm256_sad_epu8(a, b)),
            ADD(_mm256_abs_epi16(a));
        ADD(_mm256_broadcastw_epi16(_mm256_castsi256_si128(a))), ADD(_mm256_movemask_epi8(a)),
            ADD(_mm256_cvtps_epi32(x));
        ADD(_mm256_blendv_pd(u, v, u)), ADD(_mm256_permute2x128_si256(a, b, 0x13)),
            ADD(_mm256_testz_ps(x, y));
        int32_t stored[8] = {0};
        _mm256_maskstore_epi32(stored, a, b);
        add(stored, sizeof stored);
    }
}

__attribute__((target("fma,avx2"))) static void fused(void) {
    for (int i = 0; i < Rounds; i++) {
        __m256 x = _mm256_set_m128(floats(), floats()), y = _mm256_set_m128(floats(), floats());
        __m128d u = doubles(), v = doubles(), w = doubles();
        ADD(_mm256_fmadd_ps(x, y, x)), ADD(_mm256_fnmsub_ps(x, y, y)), ADD(_mm256_fmaddsub_ps(x, x, y));
        ADD(_mm_fmadd_pd(u, v, w)), ADD(_mm_fmsub_sd(u, v, w)), ADD(_mm_fnmadd_sd(u, v, w));
    }
}

__attribute__((target("f16c,avx"))) static void f16c(void) {
    for (int i = 0; i < Rounds; i++) {
        __m128 x = floats();
        ADD(_mm_cvtps_ph(x, 0)), ADD(_mm_cvtps_ph(x, 3)), ADD(_mm256_cvtph_ps(random128()));
    }
}

__attribute__((target("bmi,bmi2,lzcnt,popcnt,adx,movbe"))) static void bits(void) {
    for (int i = 0; i < Rounds; i++) {
        const uint64_t a = random64(), b = random64();
        unsigned long long sum = 0, high = 0;
        ADD(_pdep_u64(a, b)), ADD(_pext_u64(a, b)), ADD(_bzhi_u64(a, (unsigned)b & 127)),
            ADD(_mulx_u64(a, b, &high));
        ADD(high), ADD(_blsr_u64(a)), ADD(_blsmsk_u64(a)), ADD(_bextr_u64(a, (unsigned)b & 63, 13)),
            ADD(_lzcnt_u64(a & b));
        ADD(_tzcnt_u64(a << (b & 63))), ADD(__builtin_popcountll(a)), ADD(_andn_u64(a, b));
        ADD(_addcarryx_u64((unsigned char)(a & 1), a, b, &sum)), ADD(sum), ADD(__builtin_bswap64(a));
    }
}

__attribute__((target("aes,pclmul,sse4.1"))) static void aes(void) {
    for (int i = 0; i < Rounds; i++) {
        __m128i a = random128(), b = random128();
        ADD(_mm_aesenc_si128(a, b)), ADD(_mm_aesenclast_si128(a, b)), ADD(_mm_aesdec_si128(a, b)),
            ADD(_mm_aesimc_si128(a));
        ADD(_mm_aeskeygenassist_si128(a, 0x1b)), ADD(_mm_clmulepi64_si128(a, b, 0x10));
    }
}

__attribute__((target("sha,sse4.1"))) static void sha(void) {
    for (int i = 0; i < Rounds; i++) {
        __m128i a = random128(), b = random128(), c = random128();
        ADD(_mm_sha256rnds2_epu32(a, b, c)), ADD(_mm_sha256msg1_epu32(a, b)), ADD(_mm_sha256msg2_epu32(a, b));
        ADD(_mm_sha1rnds4_epu32(a, b, 2)), ADD(_mm_sha1nexte_epu32(a, b)), ADD(_mm_sha1msg1_epu32(a, b));
    }
}

// The ten significant bytes of an x87 register.
static void add_long(long double value) { add(&value, 10); }

static void x87(void) {
    const uint16_t modes[] = {0x37f, 0x27f, 0x07f, 0x77f, 0xb7f, 0xf7f},
                   usual = 0x37f;  // precisions, roundings
    for (int i = 0; i < Rounds; i++) {
        long double a = (long double)(int64_t)random64() / 65537.0L,
                    b = (long double)(int32_t)random64() / 3.0L;
        asm volatile("fldcw %0" ::"m"(modes[i % 6]));
        long double results[6];
        asm("fadd %%st(1)" : "=t"(results[0]) : "0"(a), "u"(b));
        asm("fmul %%st(1)" : "=t"(results[1]) : "0"(a), "u"(b));
        asm("fdiv %%st(1)" : "=t"(results[2]) : "0"(a), "u"(b));
        asm("fabs; fsqrt" : "=t"(results[3]) : "0"(a));
        asm("frndint" : "=t"(results[4]) : "0"(b));
        asm("fprem" : "=t"(results[5]) : "0"(a), "u"(b));
        uint16_t status, packed[5];
        asm("fcom %%st(1); fstsw %0" : "=a"(status) : "t"(a), "u"(b));
        asm("fbstp %0" : "=m"(packed) : "t"(b) : "st");
        asm volatile("fldcw %0" ::"m"(usual));
        for (int k = 0; k < 6; k++) add_long(results[k]);
        ADD((uint16_t)(status & 0x4500)), add(packed, sizeof packed);
    }
}

static void x87_functions(void) {
    for (int i = 0; i < Rounds; i++) {
        long double a = (long double)(int64_t)random64() / 0x1p61L,
                    b = fabsl((long double)(int64_t)random64()) / 0x1p62L;
        long double result, second;
        asm("fsin" : "=t"(result) : "0"(a));
        add_long(result);
        asm("fsincos" : "=t"(result), "=u"(second) : "0"(a));
        add_long(result), add_long(second);
        asm("fpatan" : "=t"(result) : "0"(a), "u"(b) : "st(1)");
        add_long(result);
        asm("f2xm1" : "=t"(result) : "0"(b / 4));
        add_long(result);
        asm("fyl2x" : "=t"(result) : "0"(b + 1), "u"(a) : "st(1)");
        add_long(result);
        asm("fscale" : "=t"(result) : "0"(a), "u"(b * 8));
        add_long(result);
    }
}

// Each processor's own approximations.
static void approximate(void) {
    for (int i = 0; i < Rounds; i++) {
        __m128 a = floats();
        ADD(_mm_rcp_ps(a)), ADD(_mm_rsqrt_ps(a)), ADD(_mm_rcp_ss(a));
    }
}

// The C library's functions choose their code by CPUID, too.
static void library(void) {
    double sum = 0;
    for (int i = 1; i <= Rounds; i++)
        sum += sin(i) * exp(-i / 500.0) + log(i) * pow(i, -1.5) + tan(i) / atan(i);
    ADD(sum);
}

static void group(const char* name, bool present, void (*run)(void)) {
    seed = 4711;
    hash = 0xcbf29ce484222325;
    if (present) {
        run();
        printf("VECTOR %s %016lx\n", name, hash);
    } else {
        printf("VECTOR %s absent\n", name);
    }
    fflush(stdout);
}

#define HAS(feature) (__builtin_cpu_supports(feature) != 0)

int main(void) {
    uint32_t a, leaf7 = 0, c, d, leaf1;
    asm("cpuid" : "=a"(a), "=b"(leaf7), "=c"(c), "=d"(d) : "a"(7), "c"(0));
    asm("cpuid" : "=a"(a), "=b"(d), "=c"(leaf1), "=d"(c) : "a"(1), "c"(0));
    group("sse", true, sse);
    group("sse-integer", true, sse_integer);
    group("sse4", HAS("sse4.2"), sse4);
    group("avx2", HAS("avx2"), avx2);
    group("fma", HAS("fma") && HAS("avx2"), fused);
    group("f16c", HAS("avx") && (leaf1 >> 29 & 1), f16c);
    group("bits", HAS("bmi2") && HAS("popcnt") && (leaf7 >> 19 & 1) && (leaf1 >> 22 & 1), bits);
    group("aes", HAS("aes") && HAS("pclmul"), aes);
    group("sha", leaf7 >> 29 & 1, sha);
    group("x87", true, x87);
    group("x87-functions", true, x87_functions);
    group("approximate", true, approximate);
    group("library", true, library);
}
