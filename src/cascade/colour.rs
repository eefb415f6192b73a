//! Colours as vectors of floats, for sampling: red, green, blue, and a fourth lane that means nothing. [`Colour`] is one, in SSE2, which
//! every x86-64 has; [`Two`] are two, as wide as the machine's vectors.

/// One colour.
#[derive(Clone, Copy)]
pub(super) struct Colour(Inner);

#[cfg(target_arch = "x86_64")]
type Inner = std::arch::x86_64::__m128;
#[cfg(not(target_arch = "x86_64"))]
type Inner = [f32; 4];

/// Two colours.
pub(crate) trait Two: Copy {
    /// Four floats each.
    fn of(one: &[f32; 4], other: &[f32; 4]) -> Self;
    /// `self` · a + other · b, lane by lane.
    fn blend(self, a: &[f32; 8], other: Self, b: &[f32; 8]) -> Self;
    /// Plus `v` in all lanes.
    fn plus(self, v: f32) -> Self;
    /// The floats.
    fn floats(self) -> [f32; 8];
    /// The nearest bytes, of two the even one, cut to 0..=255.
    fn bytes(self) -> [u8; 8];
}

/// On any machine.
impl Two for [f32; 8] {
    #[inline(always)]
    fn of(one: &[f32; 4], other: &[f32; 4]) -> Self {
        std::array::from_fn(|i| if i < 4 { one[i] } else { other[i - 4] })
    }

    #[inline(always)]
    fn blend(self, a: &[f32; 8], other: Self, b: &[f32; 8]) -> Self {
        std::array::from_fn(|i| self[i] * a[i] + other[i] * b[i])
    }

    #[inline(always)]
    fn plus(self, v: f32) -> Self {
        self.map(|x| x + v)
    }

    #[inline(always)]
    fn floats(self) -> [f32; 8] {
        self
    }

    #[inline(always)]
    fn bytes(self) -> [u8; 8] {
        self.map(|v| v.round_ties_even() as u8)
    }
}

/// In AVX2: to be used only where a function that is compiled for it takes them up.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx2(std::arch::x86_64::__m256);

#[cfg(target_arch = "x86_64")]
mod operations {
    use super::{Avx2, Colour, Two};
    use std::arch::x86_64::*;

    // SAFETY (of all blocks here): the instructions are SSE2's, which is part of x86-64, or AVX2's, as the type says; they read and
    // write the arrays that they are given, whole.
    impl Colour {
        /// The lowest four bytes, lowest first.
        #[inline(always)]
        pub(in crate::cascade) fn of_bytes(bytes: u32) -> Self {
            // SAFETY: as above.
            unsafe {
                let zero = _mm_setzero_si128();
                let words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(bytes as i32), zero);
                Self(_mm_cvtepi32_ps(_mm_unpacklo_epi16(words, zero)))
            }
        }

        /// `self` · a + other · b.
        #[inline(always)]
        pub(in crate::cascade) fn blend(self, a: f32, other: Self, b: f32) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm_add_ps(_mm_mul_ps(self.0, _mm_set1_ps(a)), _mm_mul_ps(other.0, _mm_set1_ps(b)))) }
        }

        /// Plus `v` in all lanes.
        #[inline(always)]
        pub(in crate::cascade) fn plus(self, v: f32) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm_add_ps(self.0, _mm_set1_ps(v))) }
        }

        /// The floats.
        #[inline(always)]
        pub(in crate::cascade) fn floats(self) -> [f32; 4] {
            // SAFETY: both are four floats.
            unsafe { std::mem::transmute(self.0) }
        }
    }

    impl Two for Avx2 {
        #[inline(always)]
        fn of(one: &[f32; 4], other: &[f32; 4]) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm256_loadu2_m128(other.as_ptr(), one.as_ptr())) }
        }

        #[inline(always)]
        fn blend(self, a: &[f32; 8], other: Self, b: &[f32; 8]) -> Self {
            // SAFETY: as above.
            unsafe {
                let (a, b) = (_mm256_loadu_ps(a.as_ptr()), _mm256_loadu_ps(b.as_ptr()));
                Self(_mm256_add_ps(_mm256_mul_ps(self.0, a), _mm256_mul_ps(other.0, b)))
            }
        }

        #[inline(always)]
        fn plus(self, v: f32) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm256_add_ps(self.0, _mm256_set1_ps(v))) }
        }

        #[inline(always)]
        fn floats(self) -> [f32; 8] {
            // SAFETY: both are eight floats.
            unsafe { std::mem::transmute(self.0) }
        }

        #[inline(always)]
        fn bytes(self) -> [u8; 8] {
            // SAFETY: as above.
            unsafe {
                let whole = _mm256_cvtps_epi32(self.0);
                let words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
                _mm_cvtsi128_si64(_mm_packus_epi16(words, words)).to_le_bytes()
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod operations {
    use super::Colour;

    impl Colour {
        /// The lowest four bytes, lowest first.
        #[inline(always)]
        pub(in crate::cascade) fn of_bytes(bytes: u32) -> Self {
            Self(bytes.to_le_bytes().map(f32::from))
        }

        /// `self` · a + other · b.
        #[inline(always)]
        pub(in crate::cascade) fn blend(self, a: f32, other: Self, b: f32) -> Self {
            Self(std::array::from_fn(|i| self.0[i] * a + other.0[i] * b))
        }

        /// Plus `v` in all lanes.
        #[inline(always)]
        pub(in crate::cascade) fn plus(self, v: f32) -> Self {
            Self(self.0.map(|x| x + v))
        }

        /// The floats.
        #[inline(always)]
        pub(in crate::cascade) fn floats(self) -> [f32; 4] {
            self.0
        }
    }
}
