//! A colour as a vector of four floats, for sampling: red, green, blue, and one lane that is not used. SSE2, which every
//! x86-64 has; plain arrays elsewhere.

/// Colour floats.
#[derive(Clone, Copy)]
pub(super) struct Colour(Inner);

#[cfg(target_arch = "x86_64")]
type Inner = std::arch::x86_64::__m128;
#[cfg(not(target_arch = "x86_64"))]
type Inner = [f32; 4];

#[cfg(target_arch = "x86_64")]
mod operations {
    use super::Colour;
    use std::arch::x86_64::*;

    // SAFETY (of all blocks here): the instructions are SSE2's, which is part of x86-64, and touch no memory.
    impl Colour {
        /// The lowest four bytes, lowest first.
        #[inline(always)]
        pub(crate) fn of_bytes(bytes: u32) -> Self {
            // SAFETY: as above.
            unsafe {
                let zero = _mm_setzero_si128();
                let words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(bytes as i32), zero);
                Self(_mm_cvtepi32_ps(_mm_unpacklo_epi16(words, zero)))
            }
        }

        /// Four floats.
        #[inline(always)]
        pub(crate) fn of(v: &[f32]) -> Self {
            let v: &[f32; 4] = v.try_into().expect("four");
            // SAFETY: as above, but that it reads the four floats.
            unsafe { Self(_mm_loadu_ps(v.as_ptr())) }
        }

        /// `self` · a + other · b.
        #[inline(always)]
        pub(crate) fn blend(self, a: f32, other: Self, b: f32) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm_add_ps(_mm_mul_ps(self.0, _mm_set1_ps(a)), _mm_mul_ps(other.0, _mm_set1_ps(b)))) }
        }

        /// Plus `v` in all lanes.
        #[inline(always)]
        pub(crate) fn plus(self, v: f32) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm_add_ps(self.0, _mm_set1_ps(v))) }
        }

        /// Writes all four, of which the last means nothing.
        #[inline(always)]
        pub(crate) fn store(self, out: &mut [f32]) {
            let out: &mut [f32; 4] = out.try_into().expect("four");
            // SAFETY: as above, but that it writes the four floats.
            unsafe { _mm_storeu_ps(out.as_mut_ptr(), self.0) }
        }

        /// Writes the first three.
        #[inline(always)]
        pub(crate) fn store3(self, out: &mut [f32]) {
            // SAFETY: both are four floats.
            let v: [f32; 4] = unsafe { std::mem::transmute(self.0) };
            out[..3].copy_from_slice(&v[..3]);
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod operations {
    use super::Colour;

    impl Colour {
        /// The lowest four bytes, lowest first.
        #[inline(always)]
        pub(crate) fn of_bytes(bytes: u32) -> Self {
            Self(bytes.to_le_bytes().map(f32::from))
        }

        /// Four floats.
        #[inline(always)]
        pub(crate) fn of(v: &[f32]) -> Self {
            Self(v.try_into().expect("four"))
        }

        /// `self` · a + other · b.
        #[inline(always)]
        pub(crate) fn blend(self, a: f32, other: Self, b: f32) -> Self {
            Self(std::array::from_fn(|i| self.0[i] * a + other.0[i] * b))
        }

        /// Plus `v` in all lanes.
        #[inline(always)]
        pub(crate) fn plus(self, v: f32) -> Self {
            Self(self.0.map(|x| x + v))
        }

        /// Writes all four, of which the last means nothing.
        #[inline(always)]
        pub(crate) fn store(self, out: &mut [f32]) {
            out.copy_from_slice(&self.0);
        }

        /// Writes the first three.
        #[inline(always)]
        pub(crate) fn store3(self, out: &mut [f32]) {
            out[..3].copy_from_slice(&self.0[..3]);
        }
    }
}
