//! The sums of x86-64: AVX-512 with VNNI, and AVX2.

use std::arch::x86_64::*;

use super::Dots;

/// The lowest byte of each of sixteen sums.
static LOWEST: Indices = {
    // SAFETY: sixteen bytes are a vector.
    Indices(unsafe {
        std::mem::transmute::<[u8; 16], __m128i>([0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60])
    })
};

#[derive(Clone, Copy)]
struct Indices(__m128i);

#[derive(Clone, Copy)]
pub(super) struct Vnni(__m512i);

// SAFETY of all blocks below: the trait's contract, which asks just what the intrinsics ask.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Dots for Vnni {
    const N: usize = 16;
    const PIXELS: usize = 12;
    type Bytes = __m512i;
    type Weights = __m512i;
    type Reals = __m512;
    #[inline(always)]
    unsafe fn load(p: *const i32) -> Self {
        Self(unsafe { _mm512_loadu_si512(p.cast()) })
    }
    #[inline(always)]
    unsafe fn reals(p: *const f32) -> Self::Reals {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn same(p: *const u8) -> Self::Bytes {
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn quads(p: *const u32) -> Self::Bytes {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn weights(p: *const i8) -> Self::Weights {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(self, bytes: Self::Bytes, weights: Self::Weights) -> Self {
        Self(unsafe { _mm512_dpbusd_epi32(self.0, bytes, weights) })
    }
    #[inline(always)]
    unsafe fn rounded(self, by: Self::Reals) -> Self {
        Self(unsafe { _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(self.0), by)) })
    }
    #[inline(always)]
    unsafe fn store_bytes(self, p: *mut u8) {
        unsafe {
            // Volatile, so that the compiler does not see that it could narrow and store with one instruction, which is slow on Zen 4.
            let first = _mm512_castsi128_si512(std::ptr::read_volatile(&raw const LOWEST).0);
            let least = _mm512_max_epi32(self.0, _mm512_setzero_si512());
            let clamped = _mm512_min_epi32(least, _mm512_set1_epi32(255));
            _mm_storeu_si128(p.cast(), _mm512_castsi512_si128(_mm512_permutexvar_epi8(first, clamped)));
        }
    }
    #[inline(always)]
    unsafe fn store_quads(self, p: *mut u32, slot: u32) {
        unsafe {
            let shift = _mm_cvtsi32_si128(8 * slot as i32);
            let byte = _mm512_set1_epi32(255);
            let clamped = _mm512_min_epi32(_mm512_max_epi32(self.0, _mm512_setzero_si512()), byte);
            let (new, mask) = (_mm512_sll_epi32(clamped, shift), _mm512_sll_epi32(byte, shift));
            let old = _mm512_loadu_si512(p.cast());
            // The bits of `new` where `mask` has ones, else those of `old`.
            _mm512_storeu_si512(p.cast(), _mm512_ternarylogic_epi32::<0xd8>(old, new, mask));
        }
    }
    #[inline(always)]
    unsafe fn store_reals(self, by: Self::Reals, floor: f32, p: *mut f32, n: usize) {
        unsafe {
            let reals = _mm512_max_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(self.0), by), _mm512_set1_ps(floor));
            _mm512_mask_storeu_ps(p, ((1u32 << n) - 1) as __mmask16, reals);
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256i);

// SAFETY of all blocks below: the trait's contract, which asks just what the intrinsics ask.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Dots for Avx2 {
    const N: usize = 8;
    const PIXELS: usize = 4;
    /// Bytes 0 and 2 of each group, and bytes 1 and 3, as 16-bit numbers.
    type Bytes = [__m256i; 2];
    type Weights = [__m256i; 2];
    type Reals = __m256;
    #[inline(always)]
    unsafe fn load(p: *const i32) -> Self {
        Self(unsafe { _mm256_loadu_si256(p.cast()) })
    }
    #[inline(always)]
    unsafe fn reals(p: *const f32) -> Self::Reals {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn same(p: *const u8) -> Self::Bytes {
        unsafe { widened(_mm256_set1_epi32(p.cast::<i32>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn quads(p: *const u32) -> Self::Bytes {
        unsafe { widened(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn weights(p: *const i8) -> Self::Weights {
        unsafe {
            let weights = _mm256_loadu_si256(p.cast());
            [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(weights)), _mm256_srai_epi16::<8>(weights)]
        }
    }
    #[inline(always)]
    unsafe fn dot(self, bytes: Self::Bytes, weights: Self::Weights) -> Self {
        unsafe {
            let even = _mm256_add_epi32(self.0, _mm256_madd_epi16(bytes[0], weights[0]));
            Self(_mm256_add_epi32(even, _mm256_madd_epi16(bytes[1], weights[1])))
        }
    }
    #[inline(always)]
    unsafe fn rounded(self, by: Self::Reals) -> Self {
        Self(unsafe { _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(self.0), by)) })
    }
    #[inline(always)]
    unsafe fn store_bytes(self, p: *mut u8) {
        unsafe {
            let (low, high) = (_mm256_castsi256_si128(self.0), _mm256_extracti128_si256::<1>(self.0));
            let words = _mm_packs_epi32(low, high);
            _mm_storel_epi64(p.cast(), _mm_packus_epi16(words, words));
        }
    }
    #[inline(always)]
    unsafe fn store_quads(self, p: *mut u32, slot: u32) {
        unsafe {
            let shift = _mm_cvtsi32_si128(8 * slot as i32);
            let byte = _mm256_set1_epi32(255);
            let clamped = _mm256_min_epi32(_mm256_max_epi32(self.0, _mm256_setzero_si256()), byte);
            let (new, mask) = (_mm256_sll_epi32(clamped, shift), _mm256_sll_epi32(byte, shift));
            let old = _mm256_andnot_si256(mask, _mm256_loadu_si256(p.cast()));
            _mm256_storeu_si256(p.cast(), _mm256_or_si256(old, new));
        }
    }
    #[inline(always)]
    unsafe fn store_reals(self, by: Self::Reals, floor: f32, p: *mut f32, n: usize) {
        unsafe {
            let reals = _mm256_max_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(self.0), by), _mm256_set1_ps(floor));
            let mut all = [0.0; 8];
            _mm256_storeu_ps(all.as_mut_ptr(), reals);
            p.copy_from_nonoverlapping(all.as_ptr(), n);
        }
    }
}

/// The bytes of each 16-bit number, each as one of its own.
#[inline(always)]
unsafe fn widened(bytes: __m256i) -> [__m256i; 2] {
    // SAFETY: arithmetic only; the caller has the instruction set.
    unsafe { [_mm256_and_si256(bytes, _mm256_set1_epi16(255)), _mm256_srli_epi16::<8>(bytes)] }
}
